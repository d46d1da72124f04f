"""How one target goes along its path: its lifecycle events and its timers (CP sections 11.2, 11.3, 12).

Every method changes the target and adds to a Draft what is to be stored and sent; whether the target has ended is
told by its status. Reports may come twice, late, or after others of the same command: what they prove is taken from
them, and one that was taken already changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from ferryman_coordinator.core.commands import Commands
from ferryman_coordinator.core.deadlines import AGENT_SILENT, RUN_TIMER, START_TIMER
from ferryman_coordinator.core.draft import Draft
from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.lifecycle import Route, ignorable_failures
from ferryman_coordinator.core.messages import Disposition
from ferryman_coordinator.core.model import (
    CommandPhase,
    Creator,
    Diagnostics,
    EventRecord,
    EventStatus,
    Instant,
    LifecycleErrorCode,
    RolloutSpec,
    TargetStatus,
)
from ferryman_coordinator.core.target import Failure, Target
from ferryman_coordinator.core.transitions import TARGET

LOG_TAIL_BYTES = 4096
"""CP-257."""


def _unknown(message: str) -> Diagnostics:
    return Diagnostics(error_code=LifecycleErrorCode.UNKNOWN_ERROR, message=message)


_IMPLIED = Diagnostics(
    error_code=LifecycleErrorCode.SUCCESS,
    message="its own report was lost; the agent's next one proves the success",
)
_UNNAMED = _unknown("the agent reported that the command failed, but not at which event")
_LEFT_OUT = _unknown("the agent left the event out without being told to")


class Course:
    """The rules of one deployment for each of its targets."""

    def __init__(self, spec: RolloutSpec) -> None:
        self._route = Route(spec.path)
        self._timers = spec.timers
        # Its machine may still be booting, and have no agent yet.
        self._is_launch = spec.creator is Creator.AUTO_SCALING
        self._ignorable = frozenset(ignorable_failures(spec))
        self.commands = Commands(spec, self._route)

    # What the deployment decides --------------------------------------------------------------------------------------

    def begin(self, target: Target, draft: Draft) -> None:
        """Its turn has come."""
        self._move(target, TargetStatus.IN_PROGRESS)
        target.started_at = draft.now
        self._open_step(target, 0, draft)

    def skip(self, target: Target, draft: Draft) -> None:
        """Its turn will not come. Its events share its fate and need no records."""
        self._move(target, TargetStatus.SKIPPED)
        target.completed_at = draft.now
        draft.target(target)

    def cancel(self, target: Target, draft: Draft) -> None:
        """Let the running event end and skip the rest (CP-236)."""
        if target.is_cancelled:
            return
        target.is_cancelled = True
        if target.deadline is None:
            # It was queued behind another command: from now on its agent only has to answer (CP-237).
            target.deadline = Instant(draft.now + self._timers.event_start_ms)
        draft.target(target)
        draft.commands.append(self.commands.cancel(target))

    def due(self, target: Target) -> Instant | None:
        """When `expire` is to be called unless something happens first.

        Silence counts from the moment that the agent has the command: before that the start timer is enough.
        """
        if target.completed_at is not None:
            return None
        if target.silent_since is None or target.phase is CommandPhase.OFFERED:
            return target.deadline
        lost = Instant(target.silent_since + self._timers.reboot_grace_ms)
        return lost if target.deadline is None else min(lost, target.deadline)

    def expire(self, target: Target, draft: Draft) -> None:
        """It is due: its present event fails it, and its agent is told not to go on (CP-260, CP-262, CP-393)."""
        agent, event, timers = f"the agent of {target.label}", target.lifecycle_event, self._timers
        is_running = target.event_started_at is not None
        code = LifecycleErrorCode.UNKNOWN_ERROR
        if target.silent_since is not None and target.phase is not CommandPhase.OFFERED:
            silence = (draft.now - target.silent_since) // 1000
            message = f"{agent} has been silent for {silence} s, {'in' if is_running else 'before'} {event}"
            timer = AGENT_SILENT
        elif is_running:
            code = LifecycleErrorCode.SCRIPT_TIMED_OUT
            timer = RUN_TIMER
            message = f"{event} did not end within {timers.event_run_ms // 1000} s, the limit for an event"
        else:
            timer = START_TIMER
            waited = draft.now - (target.started_at or draft.now)
            is_new = self._is_launch and target.step == 0 and waited >= timers.first_contact_ms
            limit = (timers.first_contact_ms if is_new else timers.event_start_ms) // 1000
            message = (
                f"{agent} did not begin {event} within {limit} s: does it run, and reach the coordinator?"
            )
        target.failed_by_silence = code is LifecycleErrorCode.UNKNOWN_ERROR
        diagnostics = Diagnostics(error_code=code, message=message, detail_code=timer)
        self._fail(target, diagnostics, draft, tells_agent=True)

    # What the instance does -------------------------------------------------------------------------------------------

    def silent(self, target: Target, draft: Draft) -> None:
        """Its agent is no longer connected."""
        if target.is_running and target.silent_since is None:
            target.silent_since = draft.now
            draft.target(target)

    def connected(self, target: Target, draft: Draft) -> None:
        """Its agent is back."""
        if target.is_running and target.silent_since is not None:
            target.silent_since = None
            draft.target(target)
        if (
            self._is_launch
            and target.is_running
            and target.phase is CommandPhase.OFFERED
            and target.step == 0
        ):
            self._end_first_contact(target, draft)

    def gone(self, target: Target, reason: str, draft: Draft, *, is_reachable: bool = False) -> None:
        """It will not come back, whether its turn had come or not (CP-306)."""
        tells_agent = is_reachable and target.is_running
        if target.status is TargetStatus.PENDING:
            target.lifecycle_event = self._route.steps[0][0]
        self._fail(target, _unknown(f"instance {target.label} {reason}"), draft, tells_agent=tells_agent)

    def acked(self, target: Target, disposition: Disposition, reason: str, draft: Draft) -> None:
        """The agent has the command, or refuses it.

        KNOWN says nothing new: what came of the command is, or will be, in the agent's reports.
        """
        if disposition is Disposition.REFUSED:
            why = reason or "it gave no reason"
            self._fail(target, _unknown(f"the agent of {target.label} refused the command: {why}"), draft)
        elif disposition is Disposition.STARTED:
            self.command_started(target, draft)
        elif disposition is Disposition.QUEUED and target.phase is CommandPhase.OFFERED:
            target.phase = CommandPhase.QUEUED
            if not target.is_cancelled:
                target.deadline = None
            draft.target(target)

    def command_started(self, target: Target, draft: Draft) -> None:
        """The command has its turn on the agent. Time in the agent's queue did not count (CP-261)."""
        if target.phase is CommandPhase.STARTED:
            return
        if target.phase is CommandPhase.QUEUED or self._is_launch:
            target.deadline = Instant(draft.now + self._timers.event_start_ms)
        target.phase = CommandPhase.STARTED
        draft.target(target)

    def event_started(self, target: Target, name: str, draft: Draft) -> None:
        place = self._place(target, name)
        if place < target.place or (place == target.place and target.event_started_at is not None):
            return
        self._catch_up(target, place, draft)
        self._start_event(target, draft)
        draft.target(target)

    def event_finished(
        self, target: Target, name: str, status: EventStatus, diagnostics: Diagnostics, draft: Draft
    ) -> None:
        place = self._place(target, name)
        if not status.is_terminal:
            raise InvariantBroken(f"{target.label} reports that {name} finished as {status}")
        if place < target.place:
            return
        self._catch_up(target, place, draft)
        if status is EventStatus.SKIPPED:
            says_why = diagnostics.error_code is not LifecycleErrorCode.SUCCESS
            self._fail(target, diagnostics if says_why else _LEFT_OUT, draft)
            return
        if target.event_started_at is None:
            self._start_event(target, draft)
        if status is EventStatus.SUCCEEDED or name in self._ignorable:
            self._finish_event(target, status, diagnostics, draft)
            self._advance(target, draft)
        else:
            self._fail(target, diagnostics, draft)

    def segment_finished(self, target: Target, status: EventStatus, draft: Draft) -> None:
        if not status.is_terminal:
            raise InvariantBroken(f"{target.label} reports that its command finished as {status}")
        if status is EventStatus.SUCCEEDED:
            self._catch_up(target, len(self._route.steps[target.step]) - 1, draft)
            self._succeed_unreported(target, draft)
            self._advance(target, draft)
        elif status is EventStatus.FAILED:
            self._fail(target, _UNNAMED, draft)
        elif target.is_cancelled and target.event_started_at is not None:
            # Skipped is said between two events only, so the one that ran has ended well.
            self._succeed_unreported(target, draft)
            self._advance(target, draft)
        else:
            self._fail(target, _LEFT_OUT, draft)

    # Steps of the way -------------------------------------------------------------------------------------------------

    def _place(self, target: Target, name: str) -> int:
        """Where in the open command an event is."""
        step, place = self._route.places.get(name, (-1, -1))
        if step != target.step:
            raise InvariantBroken(
                f"{target.label} reports {name}, which is no part of command {self.commands.id_of(target)}"
            )
        return place

    def _open_step(self, target: Target, step: int, draft: Draft) -> None:
        target.step = step
        target.phase = CommandPhase.OFFERED
        self._await(target, 0, draft)
        draft.target(target)
        draft.commands.append(self.commands.run(target))

    def _end_first_contact(self, target: Target, draft: Draft) -> None:
        """Its agent is there: from now on it has as long as any other."""
        deadline = Instant(draft.now + self._timers.event_start_ms)
        if target.deadline is not None and deadline < target.deadline and not target.is_cancelled:
            target.deadline = deadline
            draft.target(target)

    def _await(self, target: Target, place: int, draft: Draft) -> None:
        """The event at this place of the step is the next to start; its start timer runs from now."""
        target.place = place
        target.lifecycle_event = self._route.steps[target.step][place]
        target.event_started_at = None
        target.failure = None
        is_first = self._is_launch and target.step == place == 0
        limit = self._timers.first_contact_ms if is_first else self._timers.event_start_ms
        target.deadline = Instant(draft.now + limit)

    def _start_event(self, target: Target, draft: Draft) -> None:
        timers = self._timers
        target.phase = CommandPhase.STARTED
        target.event_started_at = draft.now
        target.deadline = Instant(draft.now + timers.event_run_ms + timers.report_grace_ms)
        draft.event(
            target,
            EventRecord(name=target.lifecycle_event, status=EventStatus.IN_PROGRESS, started_at=draft.now),
        )

    def _finish_event(
        self, target: Target, status: EventStatus, diagnostics: Diagnostics, draft: Draft
    ) -> None:
        shown = _presentable(status, diagnostics)
        if status is EventStatus.FAILED:
            target.failure = Failure.of(target.lifecycle_event, shown)
        draft.event(
            target,
            EventRecord(
                name=target.lifecycle_event,
                status=status,
                started_at=target.event_started_at,
                ended_at=draft.now,
                diagnostics=shown,
            ),
        )

    def _succeed_unreported(self, target: Target, draft: Draft) -> None:
        """A later report proves that the present event went well."""
        if target.event_started_at is None:
            self._start_event(target, draft)
        self._finish_event(target, EventStatus.SUCCEEDED, _IMPLIED, draft)

    def _catch_up(self, target: Target, place: int, draft: Draft) -> None:
        """The agent is at this place already, so everything before it went well."""
        while target.place < place:
            self._succeed_unreported(target, draft)
            self._await(target, target.place + 1, draft)

    def _advance(self, target: Target, draft: Draft) -> None:
        """The present event is over and does not stand in the way."""
        steps = self._route.steps
        is_last_of_step = target.place + 1 == len(steps[target.step])
        if is_last_of_step and target.step + 1 == len(steps):
            self._end(target, TargetStatus.SUCCEEDED, draft)
        elif target.is_cancelled:
            self._skip_rest(target, draft)
            self._end(target, TargetStatus.FAILED, draft)
        elif is_last_of_step:
            self._open_step(target, target.step + 1, draft)
        else:
            self._await(target, target.place + 1, draft)
            draft.target(target)

    def _fail(
        self, target: Target, diagnostics: Diagnostics, draft: Draft, *, tells_agent: bool = False
    ) -> None:
        """The present event fails the target; but one that a cancelled target waited for is only skipped.

        `tells_agent`: it may still be at the command, and has to be told to leave it.
        """
        if target.is_cancelled and target.event_started_at is None:
            self._skip_event(target, target.lifecycle_event, draft)
        else:
            self._finish_event(target, EventStatus.FAILED, diagnostics, draft)
        self._skip_rest(target, draft)
        if tells_agent:
            target.is_cancelled = True
            self._end(target, TargetStatus.FAILED, draft, phase=target.phase)
            draft.commands.append(self.commands.cancel(target))
        else:
            self._end(target, TargetStatus.FAILED, draft)

    def _skip_rest(self, target: Target, draft: Draft) -> None:
        for name in self._route.rest(target.step, target.place):
            self._skip_event(target, name, draft)

    def _skip_event(self, target: Target, name: str, draft: Draft) -> None:
        draft.event(target, EventRecord(name=name, status=EventStatus.SKIPPED, ended_at=draft.now))

    def _end(
        self, target: Target, status: TargetStatus, draft: Draft, *, phase: CommandPhase = CommandPhase.NONE
    ) -> None:
        self._move(target, status)
        target.deadline = None
        target.completed_at = draft.now
        target.phase = phase
        draft.target(target)

    def _move(self, target: Target, status: TargetStatus) -> None:
        TARGET.check(target.status, status, target.label)
        target.status = status


def _presentable(status: EventStatus, diagnostics: Diagnostics) -> Diagnostics:
    """Diagnostics as they are shown: bounded, and saying Success exactly for a success (CP-257, CP-258)."""
    is_success = diagnostics.error_code is LifecycleErrorCode.SUCCESS
    if status is EventStatus.SUCCEEDED:
        if is_success and not diagnostics.script_name and not diagnostics.log_tail:
            return diagnostics
        return replace(diagnostics, error_code=LifecycleErrorCode.SUCCESS, script_name="", log_tail="")
    if is_success:
        diagnostics = replace(diagnostics, error_code=LifecycleErrorCode.UNKNOWN_ERROR)
    tail = diagnostics.log_tail.encode()
    if len(tail) <= LOG_TAIL_BYTES:
        return diagnostics
    return replace(diagnostics, log_tail=tail[-LOG_TAIL_BYTES:].decode(errors="ignore"))
