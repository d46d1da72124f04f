"""What must hold of a coordinator at rest, whatever has happened (STYLE section 8): reads the store, and recounts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from ferryman_coordinator.core.events import EventKind, EventState, PublishedEvent
from ferryman_coordinator.core.group_options import Trigger
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import (
    DeploymentId,
    DeploymentStatus,
    InstanceId,
    TargetRecord,
    TargetStatus,
)
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.queries import events as event_queries
from tests.support.virtual_coordinator import VirtualCoordinator

_ENDS = {
    DeploymentStatus.SUCCEEDED: EventState.SUCCESS,
    DeploymentStatus.FAILED: EventState.FAILURE,
    DeploymentStatus.STOPPED: EventState.STOP,
}
_TARGET_ENDS = {TargetStatus.SUCCEEDED: EventState.SUCCESS, TargetStatus.FAILED: EventState.FAILURE}
_LAST = tuple(_ENDS.values())

Key = tuple[DeploymentId, InstanceId]


@dataclass
class Judge:
    """Looks again and again, and remembers what was final."""

    ended: dict[DeploymentId, Deployment] = field(default_factory=dict)
    targets: dict[DeploymentId, dict[InstanceId, TargetRecord]] = field(default_factory=dict)
    # Which attempts are the last ones of a group on an instance, as far as the order of looks tells.
    _attempts: dict[tuple[str, str], set[DeploymentId]] = field(default_factory=dict)

    async def look(self, world: VirtualCoordinator) -> None:
        """Everything; raises AssertionError."""
        async with world.store.reading() as connection:
            found = await queries.before(connection, queries.DeploymentFilter(), (), 100_000)
            fresh = [one for one in found if one.deployment_id not in self.ended]
            loaded = {
                one.deployment_id: await queries.load_rollout(connection, one.deployment_id) for one in fresh
            }
            events = await event_queries.after(connection, 0, 1_000_000)
            feeds = await connection.execute(
                sa.select(
                    tables.changes.c.deployment_id,
                    sa.func.count(),
                    sa.func.min(tables.changes.c.sequence),
                    sa.func.max(tables.changes.c.sequence),
                ).group_by(tables.changes.c.deployment_id)
            )
            for deployment_id, count, first, last in feeds:
                assert (first, last) == (1, count), f"the feed of {deployment_id} has holes"
            installed = (await connection.execute(sa.select(tables.installations))).all()
        here = {one.deployment_id: one for one in found}
        for deployment_id, before in list(self.ended.items()):
            if deployment_id not in here:
                # Its application was deleted, with all that was stored of it.
                del self.ended[deployment_id], self.targets[deployment_id]
                continue
            self._judge_final(before, here[deployment_id])
        attempts: dict[tuple[str, str], set[DeploymentId]] = defaultdict(set)
        for deployment in fresh:
            rollout = loaded[deployment.deployment_id]
            assert rollout is not None
            targets = {one.instance_id: one for one in rollout.targets}
            self._note_attempts(deployment, targets, attempts)
            self.targets[deployment.deployment_id] = targets
            counts = Counter(one.status for one in targets.values())
            assert dict(deployment.overview) == dict(counts)
            if deployment.record.status.is_terminal:
                assert all(one.status.is_terminal for one in targets.values()), deployment
                self.ended[deployment.deployment_id] = deployment
        self._attempts |= attempts
        self._judge_groups(found)
        judge_restored(world, loaded)
        judge_events(found, self.targets, events)
        self._judge_health(installed)
        assert world.unfinished == {one.deployment_id for one in found if not one.record.status.is_terminal}
        held = {one: len(rollout.targets) for one, rollout in world.rollouts().items()}
        assert world.room_taken == sum(held.values())
        assert world.engine.statistics.broken == 0
        assert world.engine.statistics.contradictions == 0

    def _judge_final(self, before: Deployment, now: Deployment) -> None:
        # What has become of its rollback is said there as it goes on (CP-349).
        kept = replace(now.record, rollback_message=before.record.rollback_message)
        assert kept == before.record, "what was final has changed"
        assert now.overview == before.overview
        assert now.rollback_deployment_id == before.rollback_deployment_id

    def _judge_groups(self, found: Iterable[Deployment]) -> None:
        running = Counter(
            one.group_id
            for one in found
            if one.spec.creator.is_fleet
            and not one.record.status.is_terminal
            and one.record.status is not DeploymentStatus.QUEUED
        )
        assert all(count == 1 for count in running.values()), (
            f"two active deployments of one group: {running}"
        )

    def _note_attempts(
        self,
        deployment: Deployment,
        targets: dict[InstanceId, TargetRecord],
        attempts: dict[tuple[str, str], set[DeploymentId]],
    ) -> None:
        """Those that ended since the last look: one of them is the last one."""
        before = self.targets.get(deployment.deployment_id, {})
        for instance_id, target in targets.items():
            known = before.get(instance_id)
            if known is not None and known.status.is_terminal:
                assert target == known, "what was final has changed"
            elif target.status in _TARGET_ENDS:
                attempts[deployment.group_id, instance_id].add(deployment.deployment_id)

    def _judge_health(self, installed: Iterable[sa.Row[tuple[object, ...]]]) -> None:
        """Health is derived from the last attempt: that must be the one that is noted (CP-315)."""
        for row in installed:
            key = (row.group_id, row.instance_id)
            assert row.last_deployment_id in self._attempts[key]
            if row.last_deployment_id not in self.targets:
                continue
            target = self.targets[row.last_deployment_id][row.instance_id]
            assert target.status.value == row.last_outcome
            assert (row.revision_key is not None) == (target.status is TargetStatus.SUCCEEDED)


def judge_restored(
    world: VirtualCoordinator, loaded: dict[DeploymentId, queries.LoadedRollout | None]
) -> None:
    """One that is restored from the store equals the one that never stopped, and keeps within its configuration."""
    for deployment_id, rollout in world.rollouts().items():
        stored = loaded[deployment_id]
        assert stored is not None
        rollout.check()
        restored = Rollout.restore(stored.spec, stored.record, stored.targets, stored.events)
        restored.check()
        assert restored.record == rollout.record
        assert dict(restored.targets) == dict(rollout.targets)
        assert restored.overview == rollout.overview
        assert restored.wake_at == rollout.wake_at
        commands: Counter[str] = Counter()
        for instance_id in rollout.targets:
            assert restored.outstanding(instance_id) == rollout.outstanding(instance_id)
            commands.update([instance_id] * len(rollout.outstanding(instance_id)))
        assert all(count == 1 for count in commands.values()), "two open commands for one target"
        running, failed = rollout.overview.in_progress, rollout.overview.failed
        if running:
            assert rollout.record.counted - failed - running >= rollout.record.minimum, "too many at once"


def judge_events(
    deployments: Iterable[Deployment],
    targets: dict[DeploymentId, dict[InstanceId, TargetRecord]],
    events: Iterable[PublishedEvent],
) -> None:
    """Each change of status that is one was told exactly once, the end of a deployment last."""
    told: dict[DeploymentId, list[PublishedEvent]] = defaultdict(list)
    for one in events:
        told[one.event.deployment_id].append(one)
    for deployment in deployments:
        deployment_id, record = deployment.deployment_id, deployment.record
        of_it = told[deployment_id]
        seen = Counter(
            (one.event.instance_id, one.event.state)
            for one in of_it
            if one.event.state not in (EventState.QUEUED, EventState.ROLLBACK)
        )
        expected: Counter[tuple[str, EventState]] = Counter()
        if record.status in _ENDS:
            expected["", _ENDS[record.status]] = 1
            assert of_it[-1].event.state in _LAST, "something is told after the end"
            assert of_it[-1].event.kind is EventKind.DEPLOYMENT, "something is told after the end"
        if record.started_at is not None:
            expected["", EventState.START] = 1
        for target in targets[deployment_id].values():
            if target.started_at is not None:
                expected[target.instance_id, EventState.START] = 1
            if target.status in _TARGET_ENDS:
                expected[target.instance_id, _TARGET_ENDS[target.status]] = 1
        assert seen == expected, f"{deployment_id}: told {seen}, happened {expected}"
        rollbacks = [one for one in of_it if one.event.state is EventState.ROLLBACK]
        assert len(rollbacks) == (deployment.rollback_triggering_deployment_id is not None)


async def judge_notices(world: VirtualCoordinator, *, is_first_life: bool = True) -> None:
    """Once the sink has everything: each event that a trigger waits for came, and in order for each deployment."""
    async with world.store.reading() as connection:
        events = await event_queries.after(connection, 0, 1_000_000, with_triggers=True)
    wanted = {one.event.event_id: one for one in events if _triggers(one)}
    got: dict[str, int] = {}
    for message in world.sink.taken:
        got.setdefault(message.event_id, len(got))
    if is_first_life:
        assert set(got) == set(wanted), "messages that are missing, or that nobody waits for"
    order: dict[str, list[int]] = defaultdict(list)
    for event_id in got:
        order[wanted[event_id].event.deployment_id].append(wanted[event_id].position)
    for deployment_id, positions in order.items():
        assert positions == sorted(positions), f"messages of {deployment_id} came out of order"


def _triggers(one: PublishedEvent) -> tuple[Trigger, ...]:
    return one.triggers
