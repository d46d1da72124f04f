"""May X do A on R, and why? (PF-244)"""

from __future__ import annotations

from dataclasses import dataclass

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.resources import EVERYTHING, NotAPattern, parse_resource
from ferryman_coordinator.core.rights import Circumstances, Verdict, check_action_pattern
from ferryman_coordinator.core.roles import ACTIONS
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.access import Access, Admitted
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.refusals import explained
from ferryman_coordinator.operations.users import Users


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedAccess:
    verdict: Verdict
    explanation: str


class Simulation:
    """Asks what a call would be told, without making it."""

    def __init__(self, access: Access, users: Users, clock: Clock, account: Account) -> None:
        self._access = access
        self._users = users
        self._clock = clock
        self._account = account

    async def check(
        self,
        asking: Admitted,
        user_name: str,
        action: str,
        resource: str,
        *,
        source: str,
        at: Instant | None = None,
    ) -> CheckedAccess:
        """For a user with a credential of no limits; without a name for the caller, with the one that was shown.

        Raises Invalid, NotFound (UserDoesNotExistException).
        """
        try:
            check_action_pattern(action)
            wanted = parse_resource(resource or EVERYTHING, self._account.region, self._account.account_id)
        except NotAPattern as problem:
            raise Invalid("InvalidInputException", str(problem)) from problem
        if action not in ACTIONS:
            raise Invalid(
                "InvalidInputException",
                f"there is no action {names.shown(action)}: docs/operating/access-matrix.md lists them all",
            )
        now = Circumstances(source=source, at=self._clock.now() if at is None else at)
        if not user_name:
            name, rights = asking.caller.name, asking.rights
        else:
            user = await self._users.find(user_name)
            name, rights = user.name, await self._access.rights_of(user)
            if not user.is_enabled:
                verdict = rights.decide(action, wanted, now)
                return CheckedAccess(verdict=verdict, explanation=f"user {name!r} is disabled")
        verdict = rights.decide(action, wanted, now)
        return CheckedAccess(verdict=verdict, explanation=explained(name, action, wanted.name, verdict))
