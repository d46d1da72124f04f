"""Between authentication and the servicer: may this caller make this call? And of a list: what may it see?

One place for all calls. A caller who may do it everywhere costs a look-up by action, no more.

What is named in a request (an application, a user) is decided before anything is looked up, so a refusal tells
nothing. A deployment is named by an id: one that does not exist and one of a group that the caller may not see are
refused in the same words, and so are tokens and keys of others.
"""

from __future__ import annotations

from typing import Any

from ferryman_coordinator.api.rules import (
    SELF_SERVICE,
    ConfigOf,
    Need,
    OfDeployment,
    OfInstance,
    OwnerOf,
    Rule,
    SomeOf,
    Target,
)
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core import resources
from ferryman_coordinator.core.model import DeploymentId, Instant
from ferryman_coordinator.core.resources import EVERYTHING, Resource
from ferryman_coordinator.core.rights import Cause, Circumstances
from ferryman_coordinator.errors import Denied
from ferryman_coordinator.operations.access import Admitted
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.refusals import refused, refused_unknown
from ferryman_coordinator.store.queries import rights as queries
from ferryman_coordinator.store.store import Store

_REMEMBERED_MS = 5_000
_REMEMBERED = 10_000


class Guard:
    """Looks up what a request names only for callers whose rights have limits."""

    def __init__(self, store: Store, clock: Clock, account: Account) -> None:
        self._store = store
        self._clock = clock
        self._account = account
        # Deployment -> its group, and until when that is believed: names follow renames.
        self._groups: dict[str, tuple[Instant, Resource]] = {}

    async def check(self, rule: Rule, request: Any, admitted: Admitted, source: str) -> None:
        """Raises Denied (AccessDeniedException)."""
        rights = admitted.rights
        for action in rule.actions:
            if not rights.everywhere(action):
                break
        else:
            return
        now = self._circumstances(source)
        for need in rule.needs(request):
            await self._demand(need, admitted, now)

    async def show(self, rule: Rule, request: Any, answer: Any, admitted: Admitted, source: str) -> None:
        """Leaves out of the answer to a list what the caller may not see; a page may end up short, or empty."""
        shows, rights = rule.shows, admitted.rights
        if shows is None or all(rights.everywhere(action) for action in rule.actions):
            return
        now = self._circumstances(source)
        items = getattr(answer, shows.field)
        kept = []
        for item in items:
            need = shows.need(item, request)
            if need is not None and await self._is_met(need, admitted, now):
                kept.append(item)
        if len(kept) < len(items):
            del items[:]
            items.extend(kept)

    def _circumstances(self, source: str) -> Circumstances:
        return Circumstances(source=source, at=self._clock.now())

    async def _demand(self, need: Need, admitted: Admitted, now: Circumstances) -> None:
        if any(admitted.rights.everywhere(action) for action in need.any_of):
            return
        resource = await self._resolved(need.on)
        if resource is None and need.on is not None:
            if isinstance(need.on, ConfigOf):
                # There is no such group: the operation says so, to somebody who may act on that name.
                return
            raise refused_unknown(admitted.caller, need.any_of[0], _shown(need.on))
        if self._allows(need, resource, admitted, now):
            return
        if isinstance(need.on, OfDeployment | OwnerOf):
            # In the same words as above.
            raise refused_unknown(admitted.caller, need.any_of[0], _shown(need.on))
        raise self._refusal(need, resource, admitted, now)

    async def _is_met(self, need: Need, admitted: Admitted, now: Circumstances) -> bool:
        if any(admitted.rights.everywhere(action) for action in need.any_of):
            return True
        resource = await self._resolved(need.on)
        return resource is not None and self._allows(need, resource, admitted, now)

    def _allows(self, need: Need, resource: Resource | None, admitted: Admitted, now: Circumstances) -> bool:
        rights = admitted.rights
        if resource is None:
            return any(rights.somewhere(action, now) for action in need.any_of)
        if isinstance(need.on, SomeOf):
            return any(rights.somewhere(action, now, resource) for action in need.any_of)
        causes = {rights.decide(action, resource, now).cause for action in need.any_of}
        if Cause.ALLOWED in causes:
            return True
        is_own = resource.name == resources.USER + admitted.caller.name and Cause.DENIED not in causes
        return is_own and rights.scope.is_everything and need.any_of[0] in SELF_SERVICE

    def _refusal(
        self, need: Need, resource: Resource | None, admitted: Admitted, now: Circumstances
    ) -> Denied:
        shown = resource or Resource((EVERYTHING,))
        verdict = admitted.rights.decide(need.any_of[0], shown, now)
        if isinstance(need.on, OfInstance):
            # What was asked for, not what it is called: that there is such an id is told to nobody else.
            shown = resources.instance(need.on.text)
        return refused(admitted.caller, need.any_of, shown.name, verdict, self._account)

    async def _resolved(self, target: Target) -> Resource | None:
        """None where there is nothing of that name, and for what has no resource."""
        match target:
            case Resource() | None:
                return target
            case SomeOf(all_of):
                return all_of
            case OfDeployment(deployment_id):
                return await self._group_of(deployment_id)
            case OfInstance(text):
                async with self._store.reading() as connection:
                    names = await queries.instance_names(connection, text)
                # One that is not there can be refused by the name that it was asked for.
                return resources.instance(*(names or (text,)))
            case ConfigOf(application_name, group_name):
                async with self._store.reading() as connection:
                    found = await queries.config_of(connection, application_name, group_name)
                return None if found is None else resources.config(found)
            case OwnerOf(credential_id):
                async with self._store.reading() as connection:
                    owner = await queries.owner_of(connection, credential_id)
                return None if owner is None else resources.user(owner)

    async def _group_of(self, deployment_id: str) -> Resource | None:
        now = self._clock.now()
        known = self._groups.get(deployment_id)
        if known is not None and now < known[0]:
            return known[1]
        async with self._store.reading() as connection:
            found = await queries.group_of(connection, DeploymentId(deployment_id))
        if found is None:
            return None
        if len(self._groups) >= _REMEMBERED:
            self._groups.clear()
        group = resources.group(*found)
        self._groups[deployment_id] = (Instant(now + _REMEMBERED_MS), group)
        return group


def _shown(target: Target) -> str:
    match target:
        case OfDeployment(deployment_id):
            return f"deployment {deployment_id!r:.80}"
        case OwnerOf(credential_id):
            return f"credential {credential_id!r:.80}"
        case _:
            return "it"
