"""A quick search over everything that has a name (CP-115)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ferryman_coordinator.core.configs import PREDEFINED
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations import resource_arns
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.store.queries import search as queries
from ferryman_coordinator.store.queries.search import Hit, Kind
from ferryman_coordinator.store.store import Store

_TEXT = 256
_LIMIT = 20
_MOST = 100


class Search:
    """What can be asked about anything."""

    def __init__(self, store: Store, account: Account) -> None:
        self._store = store
        self._account = account

    async def find(self, text: str, limit: int = 0) -> Sequence[Hit]:
        """What holds `text` in its name, in whatever case: of each kind at most `limit`, 0 for the default.

        Raises Invalid (InvalidInputException).
        """
        wanted = text.strip()
        if not wanted:
            raise Invalid("InvalidInputException", "the text to search for is missing: give a part of a name")
        if len(wanted) > _TEXT or not wanted.isprintable():
            raise Invalid(
                "InvalidInputException",
                f"the text to search for has at most {_TEXT} characters, all of which can be printed",
            )
        if not 0 <= limit <= _MOST:
            raise Invalid("InvalidInputException", f"of each kind 1 to {_MOST} are found, not {limit}")
        most = limit or _LIMIT
        async with self._store.reading() as connection:
            stored = await queries.search(connection, wanted, most)
        lowered = wanted.lower()
        predefined = [Hit(kind=Kind.CONFIG, name=name) for name in PREDEFINED if lowered in name.lower()]
        counts = dict.fromkeys(Kind, 0)
        found = []
        for hit in (*stored, *predefined):
            counts[hit.kind] += 1
            if counts[hit.kind] <= most:
                found.append(self._with_arn(hit))
        return sorted(found, key=lambda hit: list(Kind).index(hit.kind))

    def _with_arn(self, hit: Hit) -> Hit:
        match hit.kind:
            case Kind.APPLICATION:
                return replace(hit, arn=resource_arns.application_arn(self._account, hit.name))
            case Kind.GROUP:
                arn = resource_arns.group_arn(self._account, hit.application_name, hit.name)
                return replace(hit, arn=arn)
            case Kind.CONFIG:
                return replace(hit, arn=resource_arns.config_arn(self._account, hit.name))
            case _:
                return hit
