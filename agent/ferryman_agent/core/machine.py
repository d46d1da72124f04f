"""One segment's way through its lifecycle events: what happened in, facts to journal and instructions out.

The state is a fold over the facts, so the journal alone brings it back. What a restart may do (D3, D5):

- A segment that was journaled but not begun starts when its turn comes, as if nothing had been.
- Between two events it goes on with the next one: the machine is brought up again rather than left stopped half-way.
- A script event or an Install that was running is over: Failed with code 7, later events skipped. A script is never run
  a second time by itself, and a half-done Install is for people, a retry or a rollback to judge. Where the segment
  ignores that event's failure, it goes on as it does after any other failure of it.
- A DownloadBundle that was running is done once more, and only once more: it changes nothing outside the deployment's
  own directory, and its result is verified whichever way it came about. Interrupted again, it fails with code 7, so
  that an agent which dies of a bundle does not die of it for ever.
- A cancelled segment ends at the next of these points.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from ferryman_agent.core.facts import (
    NOTHING,
    CancelNoted,
    CancelRequested,
    CommandStarted,
    DownloadProgress,
    EndScripts,
    EventFinished,
    EventResumed,
    EventStarted,
    Fact,
    Outcome,
    Perform,
    ScriptStarted,
    SegmentFinished,
    WorkEnded,
)
from ferryman_agent.core.lifecycle import Work, work_of
from ferryman_agent.core.messages import Diagnostics, EventStatus, ScriptErrorCode, Segment


class InvariantBroken(Exception):
    """Facts that contradict each other; the message tells the segment's story."""


class SegmentRun:
    """State of one segment. Late, repeated and unknown events give an empty Outcome."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.running: str | None = None
        self.status: EventStatus | None = None
        self.is_cancelled = False
        self.damage = ""
        self.known_facts = 0
        self._results: dict[str, EventStatus] = {}
        self._is_kill_requested = False
        self._has_resumed = False
        self._is_performing = False
        self._script_name = ""
        self._story: deque[Fact] = deque(maxlen=20)

    @classmethod
    def restore(cls, segment: Segment, facts: Iterable[Fact]) -> SegmentRun:
        """Returns the state that the facts of a journal lead to.

        Where they contradict each other a part of the journal is lost: `damage` then tells the story, `known_facts` how
        many still count, and `recover` fails the segment rather than do something twice.
        """
        run = cls(segment)
        for fact in facts:
            try:
                run._apply(fact)
            except InvariantBroken as error:
                run.damage = str(error)
                break
            run.known_facts += 1
        return run

    @property
    def results(self) -> Mapping[str, EventStatus]:
        """How each ended event ended."""
        return self._results

    @property
    def is_begun(self) -> bool:
        """Whether any of its events has started."""
        return self.running is not None or bool(self._results)

    @property
    def is_finished(self) -> bool:
        return self.status is not None

    def begin(self, *, is_announced: bool) -> Outcome:
        """Its turn has come, for the first time in this process. `is_announced`: the coordinator knows already."""
        if self.is_finished or self._is_performing:
            return NOTHING
        facts: list[Fact] = []
        if not is_announced and not self.is_begun:
            facts.append(self._applied(CommandStarted()))
        if self.running is not None:
            facts.append(self._applied(EventResumed(lifecycle_event=self.running)))
            return self._perform(facts, self.running)
        return self._advance(facts)

    def handle(self, event: WorkEnded | CancelRequested, *, is_pausing: bool = False) -> Outcome:
        """Takes in one event and returns what follows from it.

        `is_pausing`: the agent is about to end, so no further event starts; the next process goes on from there.
        """
        if isinstance(event, CancelRequested):
            return self._cancel(event)
        if not self._is_performing or event.lifecycle_event != self.running:
            return NOTHING
        self._is_performing = False
        return self._advance([self._applied(self._finished(event))], is_pausing=is_pausing)

    def recover(self) -> Outcome:
        """The process before this one has ended, and whatever it left running is ended too (see above)."""
        if self.is_finished:
            return NOTHING
        if self.damage:
            return self.fail(_damaged())
        facts: list[Fact] = []
        if self.running is not None:
            if work_of(self.running) is Work.DOWNLOAD and not self._has_resumed and not self.is_cancelled:
                return NOTHING
            facts.append(self._applied(_interrupted(self.running, self._script_name)))
        end = self._end_status()
        if end is not None:
            facts.append(self._applied(SegmentFinished(status=end)))
        return Outcome(facts=tuple(facts))

    def fail(self, diagnostics: Diagnostics) -> Outcome:
        """It cannot go on, or not even begin: the running event, else the next one, fails (V2-040, AG-112)."""
        if self.is_finished or self._is_performing:
            return NOTHING
        facts: list[Fact] = []
        name = self.running or self._next_event()
        if self.running is None and name is not None:
            facts.append(self._applied(EventStarted(lifecycle_event=name)))
        if name is not None:
            failed = EventFinished(lifecycle_event=name, status=EventStatus.FAILED, diagnostics=diagnostics)
            facts.append(self._applied(failed))
        facts.append(self._applied(SegmentFinished(status=EventStatus.FAILED)))
        return Outcome(facts=tuple(facts))

    def check(self) -> None:
        """Raises InvariantBroken when the state contradicts itself; for tests."""
        ended = [name for name in self.segment.lifecycle_events if name in self._results]
        self._demand(ended == list(self.segment.lifecycle_events[: len(ended)]), "events ended out of order")
        self._demand(self.running is None or self.running not in self._results, "an ended event runs")
        self._demand(not (self.is_finished and self._is_performing), "work after the end")
        self._demand(not self._is_performing or self.running is not None, "work without an event")
        if self.status is EventStatus.SUCCEEDED:
            self._demand(len(ended) == len(self.segment.lifecycle_events), "succeeded with events left")

    def _advance(self, facts: list[Fact], *, is_pausing: bool = False) -> Outcome:
        """Ends the segment or starts the next event, now that no event runs."""
        end, following = self._end_status(), self._next_event()
        if end is not None or following is None:
            facts.append(self._applied(SegmentFinished(status=end or EventStatus.SUCCEEDED)))
            return Outcome(facts=tuple(facts))
        if is_pausing:
            return Outcome(facts=tuple(facts))
        facts.append(self._applied(EventStarted(lifecycle_event=following)))
        return self._perform(facts, following)

    def _perform(self, facts: list[Fact], lifecycle_event: str) -> Outcome:
        self._is_performing = True
        perform = Perform(lifecycle_event=lifecycle_event, work=work_of(lifecycle_event))
        return Outcome(facts=tuple(facts), instructions=(perform,))

    def _end_status(self) -> EventStatus | None:
        """The status to finish with, now that no event runs; None when there is a next event to run."""
        if any(self._is_fatal(name, status) for name, status in self._results.items()):
            return EventStatus.FAILED
        if EventStatus.SKIPPED in self._results.values():
            return EventStatus.SKIPPED
        if self._next_event() is None:
            return EventStatus.SUCCEEDED
        return EventStatus.SKIPPED if self.is_cancelled else None

    def _is_fatal(self, lifecycle_event: str, status: EventStatus) -> bool:
        return status is EventStatus.FAILED and lifecycle_event not in self.segment.ignorable_failures

    def _next_event(self) -> str | None:
        return next((name for name in self.segment.lifecycle_events if name not in self._results), None)

    def _cancel(self, event: CancelRequested) -> Outcome:
        is_news = not self.is_cancelled or (event.kill and not self._is_kill_requested)
        if self.is_finished or not is_news:
            return NOTHING
        facts: list[Fact] = [self._applied(CancelNoted(reason=event.reason, kill=event.kill))]
        if self.running is not None and self._is_performing:
            end_scripts = (EndScripts(lifecycle_event=self.running),) if event.kill else ()
            return Outcome(facts=tuple(facts), instructions=end_scripts)
        if self.running is not None:
            facts.append(self._applied(_not_resumed(self.running)))
        facts.append(self._applied(SegmentFinished(status=self._end_status() or EventStatus.SKIPPED)))
        return Outcome(facts=tuple(facts))

    def _finished(self, event: WorkEnded) -> EventFinished:
        status = EventStatus.SUCCEEDED if event.diagnostics.is_success else EventStatus.FAILED
        if status is EventStatus.FAILED and event.is_stopped and self._is_kill_requested:
            status = EventStatus.SKIPPED
        return EventFinished(
            lifecycle_event=event.lifecycle_event, status=status, diagnostics=event.diagnostics
        )

    def _applied(self, fact: Fact) -> Fact:
        self._apply(fact)
        return fact

    def _apply(self, fact: Fact) -> None:
        self._demand(not self.is_finished, f"{fact!r} after the end")
        self._story.append(fact)
        match fact:
            case EventStarted(lifecycle_event=name):
                self._demand(
                    self.running is None and name == self._next_event(), f"{name} started out of turn"
                )
                self.running = name
            case EventResumed(lifecycle_event=name):
                self._demand(self.running == name, f"{name} resumed without running")
                self._has_resumed = True
            case EventFinished(lifecycle_event=name, status=status):
                self._demand(self.running == name, f"{name} finished without running")
                self.running, self._has_resumed, self._script_name = None, False, ""
                self._results[name] = status
            case SegmentFinished(status=status):
                self._demand(self.running is None, "the segment finished inside an event")
                self.status = status
            case CancelNoted(kill=kill):
                self.is_cancelled = True
                self._is_kill_requested = self._is_kill_requested or kill
            case ScriptStarted(script_name=name):
                self._script_name = name
            case CommandStarted() | DownloadProgress():
                pass

    def _demand(self, is_true: bool, what: str) -> None:
        if not is_true:
            story = "; ".join(map(repr, self._story))
            raise InvariantBroken(
                f"command {self.segment.command_id}: {what}. Story: {story or 'nothing yet'}"
            )


def _interrupted(lifecycle_event: str, script_name: str) -> EventFinished:
    return EventFinished(
        lifecycle_event=lifecycle_event,
        status=EventStatus.FAILED,
        diagnostics=Diagnostics(
            error_code=ScriptErrorCode.FAILED_AFTER_RESTART,
            script_name=script_name,
            message=f"The agent restarted while {lifecycle_event} was in progress; the event is failed.",
            detail_code="FAILED_AFTER_RESTART",
        ),
    )


def _not_resumed(lifecycle_event: str) -> EventFinished:
    return EventFinished(
        lifecycle_event=lifecycle_event,
        status=EventStatus.SKIPPED,
        diagnostics=Diagnostics(
            error_code=ScriptErrorCode.UNKNOWN_ERROR,
            message=f"The deployment was stopped before {lifecycle_event} went on after the agent's restart.",
            detail_code="STOPPED",
        ),
    )


def _damaged() -> Diagnostics:
    return Diagnostics(
        error_code=ScriptErrorCode.FAILED_AFTER_RESTART,
        message="The agent restarted and cannot read all that it had written down about this command; it is failed.",
        detail_code="JOURNAL_DAMAGED",
    )
