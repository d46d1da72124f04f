"""Pretend instances: agents with a journal and an outbox that survive them, and hooks that take a random time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ferryman_coordinator.core.messages import (
    CommandAcked,
    CommandStarted,
    Disposition,
    Event,
    EventFinished,
    EventStarted,
    RunSegment,
    SegmentFinished,
)
from ferryman_coordinator.core.model import (
    CommandId,
    Diagnostics,
    EventStatus,
    InstanceId,
    LifecycleErrorCode,
)
from tests.simulation.network import Stream, World

_OK = Diagnostics(error_code=LifecycleErrorCode.SUCCESS)
_FAILED = Diagnostics(
    error_code=LifecycleErrorCode.SCRIPT_FAILED, script_name="hook.sh", message="exit status 1", log_tail="…"
)
_RESTARTED = Diagnostics(error_code=LifecycleErrorCode.UNKNOWN_ERROR, message="the agent was restarted")

RECONNECT_MS = 10_000
RESTART_MS = 60_000


@dataclass
class Run:
    """What the agent's journal says of a command: how far it is, and whether an event is running."""

    command: RunSegment
    place: int = 0
    is_queued: bool = False
    is_running: bool = False
    is_cancelled: bool = False
    is_over: bool = False


@dataclass
class Instance:
    """An agent and its host. `journal`, `outbox` and `executed` survive the agent; the rest is its memory.

    `dial` connects and returns the new stream, or None while nobody answers; `report` delivers a report and, once it
    is stored, calls back; `answer` delivers an acknowledgement of a command, which nobody keeps.
    """

    instance_id: InstanceId
    world: World
    dial: Callable[[Instance], Stream | None]
    report: Callable[[Event, Callable[[], None]], None]
    answer: Callable[[Event], None]
    journal: dict[CommandId, Run] = field(default_factory=dict)
    outbox: dict[int, Event] = field(default_factory=dict)
    # How often each event's hooks were run, and how they ended: the truth that the rollout is judged by.
    executed: dict[str, int] = field(default_factory=dict)
    results: dict[str, bool] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    is_host_dead: bool = False
    is_hung: bool = False
    has_restarted: bool = False
    _numbers: int = 0
    _process: int = 0
    _stream: Stream | None = None
    _is_dialling: bool = False
    _cancelled_ahead: set[CommandId] = field(default_factory=set)

    # The stream

    def connect(self) -> None:
        """Dial until somebody answers."""
        self._is_dialling = False
        if self.is_host_dead or self._is_connected:
            return
        self._stream = self.dial(self)
        if self._stream is None:
            self.dial_again()
            return
        self.tell("connected")
        for number in list(self.outbox):
            self._send(number)

    @property
    def _is_connected(self) -> bool:
        return self._stream is not None and self._stream.is_open

    def dial_again(self) -> None:
        """The stream broke, or nobody answered."""
        if not self._is_dialling and not self.is_host_dead:
            self._is_dialling = True
            self.world.after(self.world.random.randint(100, RECONNECT_MS), self.connect)

    def _keep(self, event: Event) -> None:
        """Into the outbox, and out as soon as there is a stream."""
        self._numbers += 1
        self.outbox[self._numbers] = event
        self._send(self._numbers)

    def _send(self, number: int) -> None:
        if self._stream is not None and number in self.outbox:
            event = self.outbox[number]
            self._stream.send("up", lambda: self.report(event, lambda: self._acknowledged(number)))

    def _acknowledged(self, number: int) -> None:
        if self._stream is not None:
            self._stream.send("down", lambda: self._forget(number))

    def _forget(self, number: int) -> None:
        self.outbox.pop(number, None)

    # Commands

    def run_segment(self, command: RunSegment) -> None:
        if self.is_host_dead:
            return
        run = self.journal.get(command.command_id)
        if run is not None or command.command_id in self._cancelled_ahead:
            is_waiting = run is not None and run.is_queued
            self._answer(command, Disposition.QUEUED if is_waiting else Disposition.KNOWN)
            return
        self.tell(f"got {command.command_id}")
        run = self.journal[command.command_id] = Run(command)
        if self.world.chance(self.world.faults.command_is_queued):
            run.is_queued = True
            self._answer(command, Disposition.QUEUED)
            self._later(self.world.random.randint(1_000, 900_000), lambda: self._take_turn(run))
        else:
            self._answer(command, Disposition.STARTED)
            self._begin(run)

    def cancel(self, command_id: CommandId) -> None:
        if self.is_host_dead:
            return
        run = self.journal.get(command_id)
        if run is None:
            self._cancelled_ahead.add(command_id)
        elif not run.is_over:
            self.tell("cancelled")
            run.is_cancelled = True
            if not run.is_running:
                self._finish(run, EventStatus.SKIPPED)

    def _answer(self, command: RunSegment, disposition: Disposition) -> None:
        ack = CommandAcked(
            instance_id=self.instance_id, command_id=command.command_id, disposition=disposition
        )
        if self._stream is not None:
            self._stream.send("up", lambda: self.answer(ack))

    def _take_turn(self, run: Run) -> None:
        if not run.is_over and run.is_queued:
            run.is_queued = False
            self._keep(CommandStarted(instance_id=self.instance_id, command_id=run.command.command_id))
            self._begin(run)

    # Lifecycle events

    def _begin(self, run: Run) -> None:
        name = run.command.events[run.place]
        run.is_running = True
        self.executed[name] = self.executed.get(name, 0) + 1
        self.tell(f"begins {name}")
        self._keep(
            EventStarted(
                instance_id=self.instance_id, command_id=run.command.command_id, lifecycle_event=name
            )
        )
        faults, takes = self.world.faults, self.world.random.randint(50, 20_000)
        if self.world.chance(faults.event_kills_host):
            self._later(takes, self._lose_host)
        elif self.world.chance(faults.event_kills_agent):
            self._later(takes, self._restart)
        elif self.world.chance(faults.event_hangs):
            self.tell("hangs")
            self.is_hung = True
        else:
            is_good = not self.world.chance(faults.event_fails)
            self._later(takes, lambda: self._end(run, is_good))

    def _end(self, run: Run, is_good: bool, diagnostics: Diagnostics | None = None) -> None:
        name = run.command.events[run.place]
        run.is_running = False
        self.results[name] = is_good
        self.tell(f"ends {name}: {'well' if is_good else 'badly'}")
        self._keep(
            EventFinished(
                instance_id=self.instance_id,
                command_id=run.command.command_id,
                lifecycle_event=name,
                status=EventStatus.SUCCEEDED if is_good else EventStatus.FAILED,
                diagnostics=diagnostics or (_OK if is_good else _FAILED),
            )
        )
        run.place += 1
        if not is_good:
            self._finish(run, EventStatus.FAILED)
        elif run.place == len(run.command.events):
            self._finish(run, EventStatus.SUCCEEDED)
        elif run.is_cancelled:
            self._finish(run, EventStatus.SKIPPED)
        else:
            self._begin(run)

    def _finish(self, run: Run, status: EventStatus) -> None:
        run.is_over = True
        self._keep(
            SegmentFinished(instance_id=self.instance_id, command_id=run.command.command_id, status=status)
        )

    # Trouble

    def _later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Do it unless the process has ended by then."""
        process = self._process

        def act() -> None:
            if process == self._process:
                action()

        self.world.after(delay_ms, act)

    def _restart(self) -> None:
        """The agent dies; its successor finds the journal, and reports what was running as failed."""
        self.tell("agent dies")
        self.has_restarted = True
        self._die()
        self.world.after(self.world.random.randint(1_000, RESTART_MS), self._recover)

    def _recover(self) -> None:
        self.tell("agent is back")
        for run in self.journal.values():
            if run.is_running:
                self._end(run, False, _RESTARTED)
            elif run.is_queued:
                self._later(1_000, lambda run=run: self._take_turn(run))  # type: ignore[misc] # bound here
        self.connect()

    def _lose_host(self) -> None:
        self.tell("host dies")
        self.is_host_dead = True
        self._die()

    def _die(self) -> None:
        self._process += 1
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.break_off()

    def tell(self, what: str) -> None:
        self.story.append(f"{self.world.now}: {what}")
