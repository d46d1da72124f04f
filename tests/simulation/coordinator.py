"""A pretend coordinator around the real core: stores, sends, dies, and comes back from what it stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ferryman_coordinator.core.messages import (
    CancelSegment,
    Command,
    Event,
    InstanceConnected,
    InstanceSilent,
    Outcome,
    RunSegment,
    StopRequested,
    Tick,
)
from ferryman_coordinator.core.model import InstanceId, Instant, Member, RolloutSpec, TargetStatus
from ferryman_coordinator.core.rollout import Rollout
from tests.simulation.instances import Instance
from tests.simulation.network import Stream, World
from tests.support.rollouts import Kept

DOWN_MS = 8_000
SILENT_AFTER_MS = 45_000


class Coordinator:
    """One deployment's owner. `rollout` is None while it is down."""

    def __init__(self, world: World, spec: RolloutSpec, members: Sequence[Member]) -> None:
        self.world = world
        self.spec = spec
        self.kept = Kept()
        self.instances = {
            one.instance_id: Instance(one.instance_id, world, self._dial, self._report, self._hear)
            for one in members
        }
        self._streams: dict[InstanceId, Stream] = {}
        self._sleeps_until: int | None = None
        self._death_chance = world.faults.coordinator_deaths / max(1, 16 * len(members))
        self.restarts = 0
        self.handled = 0
        self.rollout: Rollout | None
        self.rollout, outcome = Rollout.start(spec, members, self._now, created_at=self._now)
        self._carry_out(outcome)
        for instance in self.instances.values():
            if world.chance(world.faults.instance_is_off):
                instance.tell("is off")
                instance.is_host_dead = True
            else:
                instance.dial_again()

    @property
    def is_over(self) -> bool:
        return self.kept.record is not None and self.kept.record.status.is_terminal

    @property
    def _now(self) -> Instant:
        return Instant(self.world.now)

    def stop(self, by: str) -> None:
        """A person's wish; they try again while nobody answers."""
        if self.rollout is None:
            self.world.after(1_000, lambda: self.stop(by))
        elif not self.is_over:
            self._handle(StopRequested(by=by))

    # From instances

    def _dial(self, instance: Instance) -> Stream | None:
        if self.rollout is None:
            return None
        whose = instance.instance_id

        def broken() -> None:
            self._lost(whose, stream)
            instance.dial_again()

        stream = self._streams[whose] = Stream(self.world, broken)
        self._handle(InstanceConnected(instance_id=whose))
        if self.rollout is not None:
            for command in self.rollout.outstanding(whose):
                self._send(command)
        return stream

    def _report(self, event: Event, acknowledge: Callable[[], None]) -> None:
        if self._handle(event):
            acknowledge()

    def _hear(self, event: Event) -> None:
        self._handle(event)

    def _lost(self, whose: InstanceId, stream: Stream) -> None:
        def notice() -> None:
            if self.rollout is not None and self._streams.get(whose) is stream:
                self._handle(InstanceSilent(instance_id=whose))

        self.world.after(self.world.random.randint(1, SILENT_AFTER_MS), notice)

    # Decide, store, send

    def _handle(self, event: Event) -> bool:
        """Whether the event was taken in and what follows from it is stored."""
        if self.rollout is None:
            return False
        self.handled += 1
        dies = self.world.chance(self._death_chance)
        outcome = self.rollout.handle(event, self._now)
        if dies and self.world.chance(0.5):
            self._die("before storing")
            return False
        overview = self.rollout.overview
        assert overview.in_progress <= max(self.rollout.record.concurrency, 0)
        self.kept.apply(outcome.changes)
        if dies:
            self._die("after storing, before sending")
            return False
        self._carry_out(outcome, is_stored=True)
        return True

    def _carry_out(self, outcome: Outcome, *, is_stored: bool = False) -> None:
        if not is_stored:
            self.kept.apply(outcome.changes)
        for command in outcome.commands:
            self._send(command)
        self._set_alarm()

    def _send(self, command: Command) -> None:
        stream = self._streams.get(command.instance_id)
        if stream is None:
            return
        instance = self.instances[command.instance_id]
        if isinstance(command, RunSegment):
            run = command
            stream.send("down", lambda: instance.run_segment(run))
        else:
            cancel: CancelSegment = command
            stream.send("down", lambda: instance.cancel(cancel.command_id))

    def _set_alarm(self) -> None:
        if self.rollout is None or self.rollout.wake_at is None:
            return
        wake = self.rollout.wake_at
        if self._sleeps_until is None or wake < self._sleeps_until:
            self._sleeps_until = wake
            self.world.after(max(0, wake - self.world.now), lambda: self._alarm(wake))

    def _alarm(self, wake: int) -> None:
        if self._sleeps_until == wake:
            self._sleeps_until = None
            self._handle(Tick())
            self._set_alarm()

    # Death and return

    def _die(self, when: str) -> None:
        self.restarts += 1
        self.rollout = None
        self._sleeps_until = None
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.break_off()
        self.world.after(self.world.random.randint(1_000, DOWN_MS), self._return)

    def _return(self) -> None:
        """As after any start: what is stored is all there is; whoever does not come back is silent."""
        self.rollout = self.kept.restore(self.spec)
        self.rollout.check()

        def look_around() -> None:
            if self.rollout is None:
                return
            for whose, target in list(self.rollout.targets.items()):
                if target.status is TargetStatus.IN_PROGRESS and whose not in self._streams:
                    self._handle(InstanceSilent(instance_id=whose))

        self.world.after(SILENT_AFTER_MS, look_around)
        self._set_alarm()
