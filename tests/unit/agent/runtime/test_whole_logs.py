"""The whole of a scripts.log, piece by piece."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime.whole_logs import LogPiece, read_piece

STAMP = "2026-11-24 12:00:00 "


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "root")
    made.prepare()
    made.create_deployment("g-1", "d-1").logs.mkdir()
    return made


def write(layout: Layout, *files: bytes) -> bytes:
    """The oldest first; returns all."""
    path = layout.deployment("g-1", "d-1").scripts_log
    for number, content in enumerate(reversed(files)):
        name = f"{path.name}.{number}" if number else path.name
        path.with_name(name).write_bytes(content)
    return b"".join(files)


def pieces(layout: Layout, *, limit: int = 10_000, masks: tuple[str, ...] = ()) -> list[LogPiece]:
    found: list[LogPiece] = []
    offset = 0
    while not found or not found[-1].is_last:
        compiled = [re.compile(mask) for mask in masks]
        found.append(read_piece(layout, "g-1", "d-1", offset, limit=limit, masks=compiled))
        assert found[-1].error == ""
        assert found[-1].next_offset > offset
        offset = found[-1].next_offset
    return found


@pytest.mark.req("AG-459", "AG-X07")
def test_all_files_of_a_log_come_as_one_in_pieces_of_whole_lines(layout: Layout) -> None:
    line = STAMP.encode() + b"[stdout]\xff \x1b[31m %d\n"
    # More than ten files: the tenth is older than the second.
    wanted = write(layout, *(b"".join(line % (file * 100 + n) for n in range(50)) for file in range(12)))
    found = pieces(layout, limit=1000)
    assert b"".join(piece.content for piece in found) == wanted
    assert all(piece.content.endswith(b"\n") and len(piece.content) <= 1000 for piece in found)
    assert len(found) > 20
    unfinished = write(layout, b"a\n", b"b\nunfinished")
    assert b"".join(piece.content for piece in pieces(layout, limit=5)).endswith(b"unfinished")
    assert unfinished.endswith(b"unfinished")


def test_what_is_masked_does_not_leave_the_machine_on_this_way_either(layout: Layout) -> None:
    write(layout, f"{STAMP}[stdout]token geheim\n{STAMP}[stderr]other\n".encode() * 20)
    for mask in ("geheim", r"^token .*", r"(?<=token )\w+"):
        content = b"".join(piece.content for piece in pieces(layout, limit=300, masks=(mask,)))
        assert b"geheim" not in content
        assert content.count(f"{STAMP}[stderr]other\n".encode()) == 20
        assert content.count(f"{STAMP}[stdout]".encode()) == 20


@pytest.mark.req("AG-459")
def test_what_is_not_there_is_said(layout: Layout) -> None:
    assert "no log on this instance" in read_piece(layout, "g-1", "d-1", 0).error
    assert "no log on this instance" in read_piece(layout, "g-1", "d-2", 0).error
    for group, deployment in (("..", "d-1"), ("g-1", "../../etc"), ("g-1", ""), ("deployment-logs", "d-1")):
        assert read_piece(layout, group, deployment, 0).error
    layout.deployment("g-1", "d-1").scripts_log.mkdir()
    assert "cannot read" in read_piece(layout, "g-1", "d-1", 0).error
    write_behind = read_piece(layout, "g-1", "d-1", 2**62)
    assert write_behind.content == b""
