"""One decision round: what waits goes into the core, what it asks for comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.messages import (
    AlarmsRead,
    Change,
    CommandAcked,
    CommandStarted,
    Event,
    EventFinished,
    EventStarted,
    InstanceConnected,
    InstanceSilent,
    Outcome,
    SegmentFinished,
    Tick,
)
from ferryman_coordinator.core.model import CommandId, InstanceId, Instant
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.engine.inbox import Round
from ferryman_coordinator.engine.statistics import EngineStatistics

log = structlog.get_logger(__name__)

_REPORTS = (CommandAcked, CommandStarted, EventStarted, EventFinished, SegmentFinished)


@dataclass(slots=True)
class Decision:
    """What a round comes to. Commands are not kept: what is outstanding once the round is stored says them all, and
    leaves out those that a later event of the same round has made void.
    """

    changes: list[Change] = field(default_factory=list)
    # Instances that are to be told what is outstanding; a dict for its order.
    told: dict[InstanceId, None] = field(default_factory=dict)
    # Commands that an agent still has open and that nobody waits for.
    strays: list[tuple[InstanceId, CommandId]] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        self.changes.extend(outcome.changes)
        for command in outcome.commands:
            self.told[command.instance_id] = None


def decide(rollout: Rollout, taken: Round, now: Instant, statistics: EngineStatistics) -> Decision:
    """Let the core handle everything that was taken.

    A report that contradicts what is known of its target is left out: the core has not changed by it, the target's
    timers still run, and one confused agent must not end a whole deployment. Any other contradiction is raised.
    """
    decision = Decision()
    for event in _events(taken):
        statistics.events += 1
        try:
            decision.take(rollout.handle(event, now))
        except InvariantBroken as broken:
            if not isinstance(event, _REPORTS):
                raise
            statistics.contradictions += 1
            log.error(
                "report.contradiction",
                instance=event.instance_id,
                command=event.command_id,
                report=type(event).__name__,
                problem=broken.message,
                story=broken.story,
            )
    for instance_id, is_connected in taken.presence.items():
        if is_connected:
            decision.told[instance_id] = None
            decision.strays.extend(_strays(rollout, instance_id, taken.open_commands.get(instance_id, ())))
    return decision


def _events(taken: Round) -> Iterator[Event]:
    """Alarms first, for what is reported may let others start; who came before what was reported, and who went after
    it: a report proves that its instance was there.
    """
    if taken.alarms:
        yield AlarmsRead(readings=tuple(taken.alarms.values()))
    for instance_id, is_connected in taken.presence.items():
        if is_connected:
            yield InstanceConnected(instance_id=instance_id)
    yield from taken.events
    for instance_id, is_connected in taken.presence.items():
        if not is_connected:
            yield InstanceSilent(instance_id=instance_id)
    if taken.is_due:
        yield Tick()


def _strays(
    rollout: Rollout, instance_id: InstanceId, open_commands: tuple[CommandId, ...]
) -> Iterator[tuple[InstanceId, CommandId]]:
    wanted = {command.command_id for command in rollout.outstanding(instance_id)}
    for command_id in open_commands:
        if command_id not in wanted:
            yield instance_id, command_id
