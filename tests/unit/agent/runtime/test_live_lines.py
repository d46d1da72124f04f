"""Live output: bounded, in order, counted where it is dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.core.messages import CommandId, Instant
from ferryman_agent.hooks.contract import OutputLine, Stream
from ferryman_agent.runtime.live_lines import BATCH_CHARACTERS, LINE_CHARACTERS, LiveLines

ONE, TWO = CommandId("c-1"), CommandId("c-2")


def lines(*texts: str) -> list[OutputLine]:
    return [OutputLine(Stream.STDOUT, text, Instant(1)) for text in texts]


def drain(queue: LiveLines) -> list[tuple[str, int, list[str], int]]:
    found = []
    while (batch := queue.take()) is not None:
        found.append(
            (batch.script_name, batch.first_line, [line.text for line in batch.lines], batch.dropped)
        )
    return found


def test_consecutive_lines_of_a_script_go_together() -> None:
    queue = LiveLines()
    queue.put(ONE, "Install", "a", lines("1", "2"), 0)
    queue.put(ONE, "Install", "a", lines("3"), 0)
    queue.put(ONE, "Install", "b", lines("4"), 0)
    queue.put(TWO, "Install", "b", lines("1"), 0)
    assert drain(queue) == [("a", 1, ["1", "2", "3"], 0), ("b", 4, ["4"], 0), ("b", 1, ["1"], 0)]
    assert len(queue) == 0


def test_lines_that_the_hook_left_out_have_numbers_too() -> None:
    queue = LiveLines()
    queue.put(ONE, "Install", "a", lines("1"), 0)
    queue.put(ONE, "Install", "a", lines("7"), 5)
    assert drain(queue) == [("a", 1, ["1"], 0), ("a", 7, ["7"], 5)]


@pytest.mark.req("AG-460")
def test_the_oldest_go_first_and_are_counted() -> None:
    queue = LiveLines(max_lines=3)
    for number in range(1, 8):
        queue.put(ONE, "Install", "a", lines(str(number)), 0)
    assert drain(queue) == [("a", 5, ["5", "6", "7"], 4)]


def test_a_long_line_is_cut_and_a_batch_has_an_end() -> None:
    queue = LiveLines()
    queue.put(ONE, "Install", "a", lines("x" * 100_000), 0)
    for _ in range(40):
        queue.put(ONE, "Install", "a", lines("y" * 2_000), 0)
    (_, _, texts, _), *more = drain(queue)
    assert len(texts[0]) < LINE_CHARACTERS + 10
    assert sum(map(len, texts)) < BATCH_CHARACTERS + LINE_CHARACTERS
    assert more


CHUNKS = st.lists(
    st.tuples(st.sampled_from([ONE, TWO]), st.sampled_from("ab"), st.integers(1, 4), st.integers(0, 3)),
    max_size=60,
)


@given(CHUNKS, st.integers(1, 20))
def test_nothing_is_lost_without_being_counted(
    chunks: list[tuple[CommandId, str, int, int]], limit: int
) -> None:
    queue = LiveLines(max_lines=limit)
    written = {ONE: 0, TWO: 0}
    seen = {ONE: 0, TWO: 0}
    for place, (command_id, script, count, dropped) in enumerate(chunks):
        queue.put(command_id, "Install", script, lines(*(str(n) for n in range(count))), dropped)
        written[command_id] += count + dropped
        if place % 3 == 0 and (batch := queue.take()):
            assert batch.first_line == seen[batch.command_id] + batch.dropped + 1
            seen[batch.command_id] = batch.first_line + len(batch.lines) - 1
    while (batch := queue.take()) is not None:
        assert batch.first_line == seen[batch.command_id] + batch.dropped + 1
        seen[batch.command_id] = batch.first_line + len(batch.lines) - 1
    # Lines dropped after the last that was seen are told with the next ones.
    assert all(written[each] - seen[each] >= 0 for each in written)
    last = {command_id: chunks[-1] for command_id, *_ in chunks[-1:]}
    assert all(written[each] == seen[each] for each in last)


@pytest.mark.req("AG-460")
def test_what_an_event_lost_is_known_at_its_end() -> None:
    queue = LiveLines(max_lines=3)
    queue.put(ONE, "Install", "a", lines("1"), 5)
    for number in range(1, 8):
        queue.put(ONE, "AfterInstall", "b", lines(str(number)), 0)
    queue.put(TWO, "AfterInstall", "b", lines("1"), 1)
    assert queue.lost(ONE, "Install") == 5 + 1
    assert queue.lost(ONE, "AfterInstall") == 5
    assert queue.lost(TWO, "AfterInstall") == 1
    assert queue.lost(ONE, "ValidateService") == 0
