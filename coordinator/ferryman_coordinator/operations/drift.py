"""What agents find installed: taken in, asked for, counted (AG-554, AG-555, AG-556, AG-558)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.drift import (
    InstalledState,
    RollbackReadiness,
    readiness,
    readiness_warnings,
)
from ferryman_coordinator.core.inventory import InstanceDeploymentHealth
from ferryman_coordinator.core.model import GroupId, InstanceId, Instant, Member
from ferryman_coordinator.errors import Conflict, Invalid, NotFound, StoreUnavailable
from ferryman_coordinator.links.orders import CheckOrder
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.instances import Instances, KnownInstance
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.drift_records import state_row
from ferryman_coordinator.store.queries import drift as queries
from ferryman_coordinator.store.queries.drift import DriftCount, Installed
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

WAIT_S = 30.0
"""For an answer from `stat`; one that reads contents may take as long as the caller has patience."""
LONGEST_WAIT_S = 3_600.0
READINESS_S = 2.0
"""How long the start of a deployment waits for agents to say whether they could roll back."""
FRESH_MS = 60_000
"""An answer of so short a time ago is not asked for again."""
_COUNT_EVERY_MS = 5_000
_COUNT_AGAIN_MS = 60_000

_Key = tuple[InstanceId, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What is known before a deployment of its targets' ways back."""

    can_roll_back: Mapping[InstanceId, bool]
    warnings: tuple[str, ...]


class Drift:
    """`run` keeps the count of `drifted_instances`."""

    def __init__(self, store: Store, clock: Clock, links: Links, instances: Instances) -> None:
        self.drifted_instances = 0
        self._store = store
        self._clock = clock
        self._links = links
        self._instances = instances
        self._waiting: dict[_Key, asyncio.Future[tuple[InstalledState, ...]]] = {}
        self._has_news = False

    async def run(self) -> None:
        """Count the instances with changed files when there is news, and now and then, until cancelled."""
        counted_at = Instant(0)
        while True:
            now = self._clock.now()
            # A new deployment, or an instance that goes, is no news here, so now and then without any.
            if self._has_news or now - counted_at >= _COUNT_AGAIN_MS:
                self._has_news = False
                try:
                    async with self._store.reading() as connection:
                        self.drifted_instances = await queries.count_drifted(connection)
                    counted_at = now
                except StoreUnavailable as error:
                    log.warning("drift.not_counted", error=str(error))
            await self._clock.sleep_until(Instant(now + _COUNT_EVERY_MS))

    # What agents say

    async def take(self, instance_id: InstanceId, check_id: str, states: Sequence[InstalledState]) -> None:
        """Store what the agent found of groups that were deployed to it; others are none of its business.

        Raises StoreUnavailable.
        """
        if states:
            async with self._store.reading() as connection:
                own = await queries.own_groups(connection, instance_id, [state.group_id for state in states])
            kept = [state for state in states if state.group_id in own]
            if len(kept) < len(states):
                log.debug("drift.foreign_group", instance=instance_id, groups=len(states) - len(kept))
            batch = Batch()
            for state in kept:
                # One that could not be looked at, since a deployment runs there, has nothing to keep.
                if state.deployment_id:
                    batch.put(tables.installed_states, state_row(instance_id, state))
            if len(batch):
                await self._store.write(batch)
                self._has_news = True
        waiter = self._waiting.get((instance_id, check_id))
        if waiter is not None and not waiter.done():
            waiter.set_result(tuple(states))

    # What people ask for

    async def counts(self, group_ids: Sequence[GroupId]) -> Mapping[GroupId, DriftCount]:
        """How many instances were looked at and how many have changed files, of groups where any was."""
        async with self._store.reading() as connection:
            return await queries.counts(connection, group_ids)

    async def check(
        self,
        instance: str,
        *,
        application_name: str = "",
        group_name: str = "",
        with_digests: bool = False,
        wait_s: float = 0.0,
    ) -> KnownInstance:
        """Have the agent look now; returns the instance once its answer is stored.

        Raises what `Instances.get` raises, Invalid (InvalidInputException), NotFound
        (DeploymentGroupDoesNotExistException), Conflict (InstanceNotConnectedException, InstanceSilentException,
        InstanceNotCheckedException).
        """
        if wait_s > LONGEST_WAIT_S:
            raise Invalid("InvalidInputException", f"an answer is waited for {LONGEST_WAIT_S:g} s at most")
        known = await self._instances.get(instance)
        group_ids = _chosen(known, application_name, group_name)
        name, instance_id = known.instance.name, known.instance.instance_id
        if not group_ids:
            return known
        patience = wait_s or WAIT_S
        try:
            async with asyncio.timeout(patience):
                states = await self._ask(instance_id, group_ids, with_digests=with_digests)
        except TimeoutError:
            raise Conflict(
                "InstanceSilentException",
                f"the agent of instance {name} has not answered within {patience:g} s: give it longer (--timeout) where"
                " there is much to read, or see what it does there (`ferryman-agent status`); old agents never answer",
            ) from None
        if states is None:
            raise Conflict(
                "InstanceNotConnectedException",
                f"instance {name} is not connected, so its agent cannot be asked: see that it runs"
                " (`ferryman-agent status` there)",
            )
        for state in states:
            if not state.deployment_id:
                raise Conflict("InstanceNotCheckedException", f"instance {name}: {state.error}")
        return await self._instances.get(instance_id)

    # What a deployment asks

    async def ready(
        self, group_id: GroupId, members: Callable[[], Awaitable[Sequence[Member]]], *, ask: bool
    ) -> Readiness:
        """What is known of the targets' ways back; with `ask`, after their agents had a moment to say how it is now.

        Silent agents cost that moment, and only where they have answered before.
        """
        found = await self._installed(group_id)
        if all(one.state is None for one in found.values()):
            return Readiness(can_roll_back={}, warnings=())
        targets = [one for one in await members() if one.is_target and one.instance_id in found]
        if ask:
            asked = [one.instance_id for one in targets if self._is_worth_asking(found[one.instance_id])]
            if asked:
                await self._ask_all(asked, group_id)
                found = await self._installed(group_id)
        rows = [self._readiness(member, found.get(member.instance_id)) for member in targets]
        return Readiness(
            can_roll_back={
                member.instance_id: row.can_roll_back
                for member, row in zip(targets, rows, strict=True)
                if row.can_roll_back is not None
            },
            warnings=readiness_warnings(rows),
        )

    async def _installed(self, group_id: GroupId) -> Mapping[InstanceId, Installed]:
        async with self._store.reading() as connection:
            return await queries.installed(connection, group_id)

    def _readiness(self, member: Member, found: Installed | None) -> RollbackReadiness:
        state = None if found is None else found.state
        return RollbackReadiness(
            instance_name=member.name,
            can_roll_back=None if found is None else readiness(found.installation, state),
            was_asked=state is not None,
        )

    def _is_worth_asking(self, found: Installed) -> bool:
        """Not one that has never answered: it would be waited for in vain. Nor one that has just answered."""
        state = found.state
        if state is None or found.installation.revision_key is None:
            return False
        if state.is_of(found.installation) and self._clock.now() - state.received_at < FRESH_MS:
            return False
        return self._links.get(found.instance_id) is not None

    async def _ask_all(self, instance_ids: Sequence[InstanceId], group_id: GroupId) -> None:
        questions = [
            asyncio.ensure_future(self._ask(one, (group_id,), with_digests=False)) for one in instance_ids
        ]
        try:
            await asyncio.wait(questions, timeout=READINESS_S)
        finally:
            for question in questions:
                question.cancel()
            await asyncio.gather(*questions, return_exceptions=True)

    async def _ask(
        self, instance_id: InstanceId, group_ids: Sequence[GroupId], *, with_digests: bool
    ) -> tuple[InstalledState, ...] | None:
        """The answer, once it is stored; None when the instance is not connected."""
        link = self._links.get(instance_id)
        check_id = f"c-{secrets.token_hex(8)}"
        order = CheckOrder(check_id=check_id, group_ids=tuple(group_ids), with_digests=with_digests)
        if link is None or not link.offer(order):
            return None
        answer: asyncio.Future[tuple[InstalledState, ...]] = asyncio.get_running_loop().create_future()
        self._waiting[instance_id, check_id] = answer
        try:
            return await answer
        finally:
            del self._waiting[instance_id, check_id]


def _chosen(known: KnownInstance, application_name: str, group_name: str) -> Sequence[GroupId]:
    """The groups of the instance that are meant. Raises NotFound when one is named that was never deployed to it."""

    def is_meant(one: InstanceDeploymentHealth) -> bool:
        return application_name in ("", one.application_name) and group_name in ("", one.group_name)

    chosen = [one.group_id for one in known.health if is_meant(one)]
    if not chosen and (application_name or group_name):
        wanted = "/".join(filter(None, (application_name, group_name)))
        raise NotFound(
            "DeploymentGroupDoesNotExistException",
            f"nothing of {names.shown(wanted)} was ever deployed to instance {known.instance.name}",
        )
    return chosen
