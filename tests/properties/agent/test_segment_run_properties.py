"""Whatever happens to a segment: hooks run in table order, at most once an attempt, and each is reported once."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ferryman_agent.core.facts import (
    CancelRequested,
    EventFinished,
    EventStarted,
    Fact,
    Outcome,
    Perform,
    SegmentFinished,
    WorkEnded,
)
from ferryman_agent.core.lifecycle import LIFECYCLE_EVENTS, Work, work_of
from ferryman_agent.core.machine import SegmentRun
from ferryman_agent.core.messages import Diagnostics, EventStatus, ScriptErrorCode, Segment
from tests.support.segments import a_segment

OURS = [name for name in LIFECYCLE_EVENTS if work_of(name) is not Work.NOT_OURS]
DIAGNOSTICS = st.sampled_from(
    [
        Diagnostics(),
        Diagnostics(error_code=ScriptErrorCode.SCRIPT_FAILED, message="no"),
        Diagnostics(error_code=ScriptErrorCode.SCRIPT_TIMED_OUT, message="late"),
    ]
)
SEGMENTS = st.builds(
    lambda events, ignorable: a_segment(
        events=[name for name in OURS if name in events], ignorable=ignorable
    ),
    st.sets(st.sampled_from(OURS), min_size=1),
    st.sets(st.sampled_from(OURS), max_size=3),
)


class SegmentLife(RuleBasedStateMachine):
    """A runtime that journals, performs, is cancelled, and dies at any moment: also half-way through a write."""

    segment: Segment
    run: SegmentRun

    @initialize(segment=SEGMENTS)
    def receive(self, segment: Segment) -> None:
        self.segment = segment
        self.run = SegmentRun(segment)
        self.journal: list[Fact] = []
        self.performing: str | None = None
        self.performed: list[str] = []
        self.is_begun = False

    def take(self, outcome: Outcome, survives: int | None = None) -> None:
        """Journals the facts and starts the work; with `survives`, the agent dies after so many of the facts."""
        if survives is not None and survives < len(outcome.facts):
            self.journal += outcome.facts[:survives]
            self.die()
            return
        self.journal += outcome.facts
        for instruction in outcome.instructions:
            if isinstance(instruction, Perform):
                self.performing = instruction.lifecycle_event
                self.performed.append(instruction.lifecycle_event)

    def die(self) -> None:
        self.performing, self.is_begun = None, False
        self.run = SegmentRun.restore(self.segment, self.journal)
        assert not self.run.damage
        self.take(self.run.recover())

    @precondition(lambda self: not self.is_begun)
    @rule()
    def turn_comes(self) -> None:
        self.is_begun = True
        self.take(self.run.begin(is_announced=False))

    @precondition(lambda self: self.performing)
    @rule(diagnostics=DIAGNOSTICS, is_stopped=st.booleans(), survives=st.none() | st.integers(0, 2))
    def work_ends(self, diagnostics: Diagnostics, is_stopped: bool, survives: int | None) -> None:
        assert self.performing
        event = WorkEnded(lifecycle_event=self.performing, diagnostics=diagnostics, is_stopped=is_stopped)
        self.performing = None
        self.take(self.run.handle(event), survives)
        repeated = self.run.handle(event) if self.run.running != event.lifecycle_event else Outcome()
        assert repeated == Outcome()

    @rule(kill=st.booleans())
    def cancel(self, kill: bool) -> None:
        self.take(self.run.handle(CancelRequested(kill=kill)))

    @rule()
    def crash(self) -> None:
        self.die()

    @invariant()
    def is_consistent(self) -> None:
        self.run.check()
        again = SegmentRun.restore(self.segment, self.journal)
        assert (again.status, again.running, dict(again.results)) == (
            self.run.status,
            self.run.running,
            dict(self.run.results),
        )

    @invariant()
    def runs_in_order_and_at_most_once(self) -> None:
        started = [fact.lifecycle_event for fact in self.journal if isinstance(fact, EventStarted)]
        assert started == list(self.segment.lifecycle_events[: len(started)])
        finished = [fact.lifecycle_event for fact in self.journal if isinstance(fact, EventFinished)]
        assert finished == started[: len(finished)]
        assert len(started) - len(finished) in (0, 1)
        for name in set(self.performed):
            assert self.performed.count(name) <= (2 if work_of(name) is Work.DOWNLOAD else 1)

    @invariant()
    def ends_once_and_as_it_went(self) -> None:
        ends = [fact for fact in self.journal if isinstance(fact, SegmentFinished)]
        assert len(ends) <= 1
        if ends:
            assert self.journal[-1] == ends[0]
            fatal = [
                name
                for name, status in self.run.results.items()
                if status is EventStatus.FAILED and name not in self.segment.ignorable_failures
            ]
            assert (ends[0].status is EventStatus.FAILED) is bool(fatal)

    def teardown(self) -> None:
        """However it went, a segment left alone ends."""
        for _ in range(2 * len(self.segment.lifecycle_events) + 2):
            if self.run.is_finished:
                return
            if self.performing:
                event = WorkEnded(lifecycle_event=self.performing, diagnostics=Diagnostics())
                self.performing = None
                self.take(self.run.handle(event))
            else:
                self.take(self.run.begin(is_announced=False))
        assert self.run.is_finished


TestSegmentLife = pytest.mark.req("AG-101", "V2-001", "AG-191")(SegmentLife.TestCase)
TestSegmentLife.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
