"""What becomes of a script's output: on disk, in the tail, live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman_agent.hooks.contract import HookSettings, Stream
from ferryman_agent.hooks.output import LiveLines, ScriptOutput, ScriptsLog, Splitter, Tail, clean
from tests.support.agent_clock import ManualAgentClock
from tests.support.hook_runs import HookBench, Recorder

STAMP = b"2023-11-14 22:13:20 "


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Outputs:
    """The output of one script, with all that it goes to."""

    def __init__(self, root: Path, *, combined: bool = False, **settings: int) -> None:
        self.clock = ManualAgentClock()
        self.bench = HookBench(root=root)
        self.watcher = Recorder()
        chosen = HookSettings(**settings)  # type: ignore[arg-type]  # the tests set integers only
        run = self.bench.run_of(deployments_log=self.bench.deployments_log if combined else None)
        self.log = ScriptsLog(run, chosen, self.clock)
        live = LiveLines("a.sh", self.watcher, chosen, self.clock)
        self.output = ScriptOutput(self.log, live, cap_bytes=chosen.output_cap_bytes)

    def print(self, *blocks: bytes, stream: Stream = Stream.STDOUT) -> None:
        for block in blocks:
            self.output.feed(stream, block)

    def end(self) -> None:
        for stream in (Stream.STDOUT, Stream.STDERR):
            self.output.end_of(stream)
        self.output.finish()
        self.log.close()


@pytest.mark.req("AG-433", "AG-429", "AG-426", "V2-260")
def test_scripts_log_byte_for_byte(tmp_path: Path) -> None:
    out = Outputs(tmp_path)
    out.log.entry("LifecycleEvent - ApplicationStart")
    out.log.entry("Script - a.sh")
    out.print(b"one\ntw", b"o\n\n  three")
    out.print(b"oops\n", stream=Stream.STDERR)
    out.clock.advance(1)
    out.end()
    assert out.bench.logged() == (
        b"2023-11-14 22:13:20 LifecycleEvent - ApplicationStart\n"
        b"2023-11-14 22:13:20 Script - a.sh\n"
        b"2023-11-14 22:13:20 [stdout]one\n"
        b"2023-11-14 22:13:20 [stdout]two\n"
        b"2023-11-14 22:13:20 [stdout]\n"
        b"2023-11-14 22:13:20 [stderr]oops\n"
        b"2023-11-14 22:13:21 [stdout]  three\n"
    )


@pytest.mark.req("AG-437", "V2-271")
def test_combined_log_names_the_deployment(tmp_path: Path) -> None:
    out = Outputs(tmp_path, combined=True)
    out.clock.advance(0.042)
    out.log.entry("Script - a.sh")
    out.print(b"x\ny\n")
    out.end()
    assert out.bench.deployments_log.read_bytes() == (
        b"[2023-11-14 22:13:20.042] [d-1]Script - a.sh\n"
        b"[2023-11-14 22:13:20.042] [d-1][stdout]x\n"
        b"[2023-11-14 22:13:20.042] [d-1][stdout]y\n"
    )


@pytest.mark.req("AG-434")
def test_times_are_local_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    out = Outputs(tmp_path)
    out.log.entry("x")
    out.end()
    assert out.bench.logged() == b"2023-11-15 07:13:20 x\n"


@pytest.mark.req("V2-262", "V2-261")
@pytest.mark.parametrize(
    "printed, shown",
    [
        (b"a\r2023-11-14 22:13:20 Script - forged.sh\n", [b"a", b"2023-11-14 22:13:20 Script - forged.sh"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b(By\n", [b"red xy"]),
        (b"b\x08ell\x07\x00\ttab\x7f\x0b\x0c\n", [b"bell\ttab"]),
        (b"c1\xc2\x9b31m\xc2\x85x\n", [b"c131mx"]),
        (b"raw \xff\xfe \xe2\x82\xac\n", [b"raw \xff\xfe \xe2\x82\xac"]),
    ],
)
def test_every_line_is_marked_and_what_is_shown_is_free_of_control_characters(
    tmp_path: Path, printed: bytes, shown: list[bytes]
) -> None:
    out = Outputs(tmp_path, combined=True)
    out.print(printed)
    out.end()
    combined = out.bench.deployments_log.read_bytes().replace(b"[2023-11-14 22:13:20.000] [d-1]", b"")
    assert combined == b"".join(b"[stdout]" + line + b"\n" for line in shown)
    text = b"\n".join(shown).decode(errors="replace")
    assert out.log.tail.text() == "".join(f"[stdout]{line}\n" for line in text.split("\n"))
    assert " ".join(out.watcher.texts) == text.replace("\n", " ")


@pytest.mark.req("V2-261", "AG-428")
@pytest.mark.parametrize(
    "printed, logged",
    [
        (b"\x1b[31mred\x1b[0m \x00\xff\xc2\x9b\n", [b"\x1b[31mred\x1b[0m \x00\xff\xc2\x9b"]),
        (b"a\rb\r\n", [b"a", b"b"]),
    ],
)
def test_the_deployments_own_log_keeps_what_was_printed(
    tmp_path: Path, printed: bytes, logged: list[bytes]
) -> None:
    out = Outputs(tmp_path)
    out.print(printed)
    out.end()
    assert out.bench.logged() == b"".join(STAMP + b"[stdout]" + line + b"\n" for line in logged)


def test_a_header_cannot_hold_a_line_break(tmp_path: Path) -> None:
    out = Outputs(tmp_path)
    out.log.entry("Script - a\n2023-11-14 22:13:20 Script - b")
    out.end()
    assert out.bench.logged() == STAMP + b"Script - a 2023-11-14 22:13:20 Script - b\n"


@pytest.mark.req("AG-428", "AG-450", "AG-454", "V2-267", "V2-269", "AG-X06")
def test_tail_is_text_whatever_was_printed(tmp_path: Path) -> None:
    out = Outputs(tmp_path)
    out.print(b"\xff\xfe\n" + b"\xe2\x82\xac" * 3000 + b"\n")
    out.end()
    assert out.log.tail.text() == "€" * 2046 + "\n"
    assert b"\xff\xfe" in out.bench.logged()


@pytest.mark.req("AG-449", "V2-266", "V2-392")
def test_tail_keeps_the_newest_whole_entries() -> None:
    tail = Tail()
    for number in range(1000):
        tail.add(f"{number:09}")
    assert tail.text() == "".join(f"{number:09}\n" for number in range(1000 - 204, 1000))


@pytest.mark.req("AG-450", "V2-267", "AG-X05")
def test_a_long_entry_keeps_its_end_also_behind_later_ones() -> None:
    tail = Tail()
    tail.add("early")
    tail.add("x" * 5000 + "the cause")
    assert tail.text().endswith("xthe cause\n")
    assert len(tail.text()) == 2047
    tail.add("Script ended")
    assert tail.text().endswith("xthe cause\nScript ended\n")
    assert len(tail.text()) == 2047


@pytest.mark.req("AG-451")
def test_tail_has_the_log_texts_without_times(tmp_path: Path) -> None:
    out = Outputs(tmp_path)
    out.log.entry("LifecycleEvent - ApplicationStart")
    out.print(b"x\n")
    out.print(b"y\n", stream=Stream.STDERR)
    assert out.log.tail.text() == "LifecycleEvent - ApplicationStart\n[stdout]x\n[stderr]y\n"
    out.end()


@pytest.mark.req("AG-427", "V2-263")
def test_lines_over_64_kib_are_cut_with_a_marker() -> None:
    splitter = Splitter()
    lines = b"".join(
        [*(splitter.feed(b"x" * 1000) for _ in range(150)), splitter.feed(b"y\nz"), splitter.finish()]
    )
    pieces = lines.split(b"\n")
    assert pieces[0] == b"x" * 65536 + b" [line cut at 64 KiB, goes on below]"
    assert pieces[1] == pieces[0]
    assert pieces[2:] == [b"x" * (150_000 - 2 * 65536) + b"y", b"z", b""]


def test_a_line_of_exactly_64_kib_is_whole() -> None:
    splitter = Splitter()
    assert splitter.feed(b"x" * 65536) == b""
    assert splitter.feed(b"\n") == b"x" * 65536 + b"\n"


def test_clean_leaves_plain_text_alone() -> None:
    text = "Größe: 5 µm\tok\n".encode()
    assert clean(text) == text


@pytest.mark.req("AG-430")
def test_output_over_the_cap_is_left_out_of_the_log_and_counted(tmp_path: Path) -> None:
    out = Outputs(tmp_path, output_cap_bytes=100)
    out.print(b"1234567890\n" * 5, b"last words\n")
    out.end()
    line = STAMP + b"[stdout]1234567890\n"
    assert out.bench.logged() == (
        line * 2
        + STAMP
        + b"Output - more than 100 bytes: the rest is left out of this log\n"
        + STAMP
        + b"Output - 44 bytes in all were left out of this log\n"
    )
    assert "[stdout]last words\n" in out.log.tail.text()


@pytest.mark.req("V2-264", "AG-438")
def test_scripts_log_rotates_by_size(tmp_path: Path) -> None:
    out = Outputs(tmp_path, log_max_bytes=100, log_files=3)
    for number in range(20):
        out.print(f"line {number:02}\n".encode())
    out.end()
    folder = out.bench.place.scripts_log.parent
    assert sorted(path.name for path in folder.iterdir()) == ["scripts.log", "scripts.log.1", "scripts.log.2"]
    assert out.bench.logged().endswith(b"line 19\n")
    assert all(path.stat().st_size <= 100 for path in folder.iterdir())


@pytest.mark.req("AG-444", "V2-265")
def test_a_log_that_cannot_be_written_is_counted_and_the_tail_kept(tmp_path: Path) -> None:
    out = Outputs(tmp_path)
    out.bench.place.scripts_log.parent.parent.mkdir(parents=True, exist_ok=True)
    out.bench.place.scripts_log.parent.write_text("a file where the folder should be")
    out.print(b"x\n", b"y\n")
    out.end()
    assert out.log.failures == 2
    assert out.log.tail.text() == "[stdout]x\n[stdout]y\n"


@pytest.mark.req("AG-441", "AG-S15")
def test_a_deleted_scripts_log_comes_back(tmp_path: Path) -> None:
    out = Outputs(tmp_path)
    out.print(b"x\n")
    out.bench.place.scripts_log.unlink()
    out.print(b"y\n")
    out.end()
    assert out.bench.logged() == STAMP + b"[stdout]y\n"


@pytest.mark.req("AG-460", "AG-430")
def test_live_lines_are_dropped_with_a_count_and_never_from_disk(tmp_path: Path) -> None:
    out = Outputs(tmp_path, live_lines_per_second=3)
    out.print(b"".join(b"%d\n" % number for number in range(10)))
    assert out.watcher.texts == ["0", "1", "2"]
    out.print(b"10\n")
    out.clock.advance(1)
    out.print(b"11\n")
    assert out.watcher.texts == ["0", "1", "2", "11"]
    assert out.watcher.dropped == 8
    out.print(*[b"more\n"] * 5)
    out.end()
    assert out.watcher.dropped == 8 + 3
    assert out.bench.logged().count(b"\n") == 17


def test_live_lines_are_bounded_in_bytes_too(tmp_path: Path) -> None:
    out = Outputs(tmp_path, live_bytes_per_second=6000)
    out.print((b"x" * 5000 + b"\n") * 3)
    assert [len(text) for text in out.watcher.texts] == [4096, 4096]
    out.end()
    assert out.watcher.dropped == 1


def test_live_lines_say_stream_and_time_and_are_clean(tmp_path: Path) -> None:
    out = Outputs(tmp_path)
    out.print(b"\x1b[1mbold\x1b[0m\xff\n", stream=Stream.STDERR)
    out.output.remark("Warning - slow")
    (line, remark) = out.watcher.live
    assert (line.stream, line.text, line.at) == (Stream.STDERR, "bold\ufffd", out.clock.now())
    assert (remark.stream, remark.text) == (Stream.AGENT, "Warning - slow")
    out.end()
