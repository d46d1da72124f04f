"""When checks run, when they give way, and what is told of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from ferryman_agent.core.drift import InstalledGroup
from ferryman_agent.core.messages import GroupId, Instant
from ferryman_agent.files.check import Abandoned, Checked, Knowledge
from ferryman_agent.runtime.drift import ASKED_LIMIT, BUSY, Drift, DriftSettings
from tests.support.agent_clock import ManualAgentClock

WEB, DB = GroupId("web"), GroupId("db")
PATIENCE_S = 20.0


@dataclass
class Bench:
    """A Drift whose checks find what the test says. `gate` holds them up, `looked` has (group, with digests)."""

    settings: DriftSettings = DriftSettings()  # noqa: RUF009 - frozen
    groups: list[GroupId] = field(default_factory=lambda: [WEB])
    busy: set[GroupId] = field(default_factory=set)
    looked: list[tuple[GroupId, bool]] = field(default_factory=list)
    sent: list[tuple[str, Sequence[InstalledGroup]]] = field(default_factory=list)
    distrusted: list[tuple[GroupId, frozenset[str]]] = field(default_factory=list)
    lying: frozenset[str] = frozenset()
    knowledge: list[Knowledge] = field(default_factory=list)
    problem: Exception | None = None
    answered: int = 0

    def __post_init__(self) -> None:
        self.clock = ManualAgentClock()
        self.gate = threading.Event()
        self.gate.set()
        self.found = {
            group: InstalledGroup(group_id=group, deployment_id="d-1", archive_whole=True)
            for group in (WEB, DB)
        }
        self._moved = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.drift = Drift(
            check=self._check,
            groups=lambda: tuple(self.groups),
            busy=lambda: frozenset(self.busy),
            send=self._send,
            distrust=lambda group, paths: self.distrusted.append((group, paths)),
            settings=self.settings,
            clock=self.clock,
            random=lambda: 0.5,
        )

    def _check(
        self,
        group_id: GroupId,
        *,
        knowledge: Knowledge,
        with_digests: bool,
        now: Instant,
        pace: Callable[[int], None],
        stop: threading.Event,
    ) -> Checked | None:
        self.looked.append((group_id, with_digests))
        self.knowledge.append(knowledge)
        self._loop.call_soon_threadsafe(self._moved.set)
        while not self.gate.wait(0.005):
            if stop.is_set():
                raise Abandoned
        if self.problem is not None:
            raise self.problem
        if group_id not in self.groups:
            return None
        state = replace(self.found[group_id], checked_at=now, with_digests=with_digests)
        self.answered += 1
        self._loop.call_soon_threadsafe(self._moved.set)
        return Checked(state=state, knowledge=Knowledge(f"known {len(self.looked)}"), lying=self.lying)

    def _send(self, check_id: str, states: Sequence[InstalledGroup]) -> None:
        self.sent.append((check_id, states))
        self._moved.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._moved.clear()
                await self._moved.wait()

    def commands(self, *groups: GroupId) -> None:
        self.busy = set(groups)
        self.drift.commands_changed()


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.create_task(bench.drift.run())
    try:
        yield bench
    finally:
        bench.gate.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.req("AG-549", "AG-553")
async def test_it_looks_at_the_start_and_then_at_its_times_and_tells_only_news() -> None:
    async with running(Bench()) as bench:
        await bench.until(lambda: len(bench.sent) == 1)
        assert bench.looked == [(WEB, False)]
        assert bench.sent[0][0] == ""
        assert [state.group_id for state in bench.sent[0][1]] == [WEB]
        # In the middle of 13.5 to 16.5 minutes.
        await bench.clock.until_sleeping(900)
        bench.clock.advance(900)
        await bench.until(lambda: bench.answered == 2)
        await bench.clock.until_sleeping(900)
        assert len(bench.sent) == 1
        bench.found[WEB] = replace(bench.found[WEB], files_drifted=1)
        bench.clock.advance(900)
        await bench.until(lambda: len(bench.sent) == 2)
        assert bench.sent[1][1][0].files_drifted == 1
        assert bench.knowledge[2].deployment_id == "known 2"


@pytest.mark.req("AG-549")
async def test_contents_are_read_at_their_own_times() -> None:
    async with running(Bench(DriftSettings(stat_every=0, digests_every=86_400))) as bench:
        # The first time somewhere in the first day, so that a fleet does not read all at once.
        await bench.clock.until_sleeping(43_200)
        assert bench.looked == []
        bench.clock.advance(43_200)
        await bench.until(lambda: bench.looked == [(WEB, True)])
        await bench.clock.until_sleeping(86_400)


@pytest.mark.req("AG-549", "AG-555")
async def test_without_a_schedule_it_looks_only_when_it_is_asked() -> None:
    async with running(Bench(DriftSettings(stat_every=0, digests_every=0))) as bench:
        bench.commands(WEB)
        bench.commands()
        bench.drift.ask("c-1", [WEB], with_digests=True)
        await bench.until(lambda: len(bench.sent) == 1)
        assert bench.sent[0][0] == "c-1"
        assert bench.looked == [(WEB, True)]
        assert bench.clock.next_wake is None


@pytest.mark.req("AG-553")
async def test_each_stream_is_told_everything_once() -> None:
    bench = Bench(groups=[DB, WEB])
    async with running(bench):
        await bench.until(lambda: len(bench.sent) == 2)
        bench.drift.stream_began()
        assert [state.group_id for state in bench.sent[2][1]] == [DB, WEB]
        assert bench.sent[2][0] == ""


@pytest.mark.req("AG-553")
async def test_whoever_asks_gets_an_answer_even_if_it_is_no_news() -> None:
    bench = Bench(groups=[DB, WEB])
    async with running(bench):
        await bench.until(lambda: len(bench.sent) == 2)
        bench.drift.ask("c-1", [], with_digests=False)
        await bench.until(lambda: len(bench.sent) == 3)
        assert bench.sent[2][0] == "c-1"
        assert [state.group_id for state in bench.sent[2][1]] == [DB, WEB]
        bench.drift.ask("c-2", [GroupId("none"), WEB], with_digests=False)
        await bench.until(lambda: len(bench.sent) == 4)
        assert [state.group_id for state in bench.sent[3][1]] == [WEB]
        bench.drift.ask("c-3", [GroupId("none")], with_digests=False)
        await bench.until(lambda: len(bench.sent) == 5)
        assert bench.sent[4] == ("c-3", [])


@pytest.mark.req("AG-552")
async def test_a_check_gives_way_to_a_command_and_is_made_after_it() -> None:
    bench = Bench()
    bench.gate.clear()
    async with running(bench):
        await bench.until(lambda: len(bench.looked) == 1)
        bench.commands(WEB)
        # The command does not wait for anything; the check ends without a result.
        bench.gate.set()
        bench.found[WEB] = replace(bench.found[WEB], deployment_id="d-2")
        bench.drift.ask("c-1", [WEB], with_digests=False)
        await bench.until(lambda: len(bench.sent) == 1)
        check_id, (state,) = bench.sent[0]
        assert (check_id, state.error, state.deployment_id) == ("c-1", BUSY, "")
        assert len(bench.looked) == 1
        bench.commands()
        await bench.until(lambda: len(bench.sent) == 2)
        assert bench.sent[1][1][0].deployment_id == "d-2"


@pytest.mark.req("AG-552")
async def test_what_was_found_while_a_command_began_counts_for_nothing() -> None:
    bench = Bench()
    bench.gate.clear()
    async with running(bench):
        await bench.until(lambda: len(bench.looked) == 1)
        # Nobody has said so yet, but it runs.
        bench.busy = {WEB}
        bench.gate.set()
        await bench.clock.until_sleeping(900)
        bench.drift.commands_changed()
        bench.commands()
        await bench.until(lambda: len(bench.sent) == 1)
        assert len(bench.looked) == 2


@pytest.mark.req("AG-552")
async def test_other_groups_are_looked_at_meanwhile() -> None:
    bench = Bench(groups=[WEB, DB], busy={WEB})
    async with running(bench):
        bench.drift.commands_changed()
        await bench.until(lambda: len(bench.sent) == 1)
        assert bench.looked == [(DB, False)]


async def test_a_group_that_another_process_works_for_is_left_until_the_next_time() -> None:
    bench = Bench()
    bench.problem = Abandoned()
    async with running(bench):
        await bench.until(lambda: len(bench.looked) == 1)
        await bench.clock.until_sleeping(900)
        assert len(bench.looked) == 1
        bench.problem = None
        bench.clock.advance(900)
        await bench.until(lambda: len(bench.sent) == 1)


async def test_a_mistake_of_ours_costs_one_check_and_is_told() -> None:
    bench = Bench()
    bench.problem = ValueError("oh no")
    async with running(bench):
        await bench.until(lambda: len(bench.sent) == 1)
        assert bench.sent[0][1][0].error == "ValueError: oh no"
        bench.problem = None
        await bench.clock.until_sleeping(900)
        bench.clock.advance(900)
        await bench.until(lambda: len(bench.sent) == 2)
        assert bench.sent[1][1][0].error == ""


async def test_files_whose_marks_lie_are_noted_for_the_next_install() -> None:
    bench = Bench(lying=frozenset({"/srv/a"}))
    async with running(bench):
        await bench.until(lambda: len(bench.sent) == 1)
        assert bench.distrusted == [(WEB, frozenset({"/srv/a"}))]


async def test_a_flood_of_questions_is_cut_off() -> None:
    bench = Bench(DriftSettings(stat_every=0, digests_every=0))
    for number in range(3 * ASKED_LIMIT):
        bench.drift.ask(f"c-{number}", [WEB], with_digests=False)
    async with running(bench):
        await bench.until(lambda: len(bench.sent) == ASKED_LIMIT)
    assert len(bench.looked) == ASKED_LIMIT


@pytest.mark.req("AG-552")
async def test_reading_by_schedule_keeps_its_pace_and_reading_on_demand_does_not_wait() -> None:
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return False

    from ferryman_agent.runtime.drift import _Pace

    clock = ManualAgentClock()
    pace = _Pace(1_000, clock, Stop())
    pace(500)
    assert waits == [0.5]
    clock.advance(2.0)
    pace(500)
    assert waits == [0.5]
    pace(2_000)
    assert waits == [0.5, 1.0]
    _Pace(0, clock, Stop())(10**9)
    assert waits == [0.5, 1.0]
