"""Log files that begin anew, and come back."""

from __future__ import annotations

import errno
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ferryman_agent.files.rotate import ByDay, BySize, RotatedFile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def written_on(path: Path, day: date) -> None:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    os.utime(path, (noon, noon))


@pytest.fixture
def by_day() -> ByDay:
    return ByDay(today=lambda: date(2024, 3, 10))


@pytest.mark.req("AG-438", "V2-264")
def test_by_size_the_oldest_is_dropped(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "a.log", BySize(max_bytes=10, files=3))
    for number in range(6):
        file.write(b"record %d\n" % number)
    file.close()
    assert names(tmp_path) == ["a.log", "a.log.1", "a.log.2"]
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [
        b"record 5\n",
        b"record 4\n",
        b"record 3\n",
    ]


def test_a_single_file_starts_over(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "a.log", BySize(max_bytes=10, files=1))
    file.write(b"12345678")
    file.write(b"abc")
    file.close()
    assert names(tmp_path) == ["a.log"]
    assert (tmp_path / "a.log").read_bytes() == b"abc"


def test_a_record_larger_than_a_file_is_still_written_whole(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "a.log", BySize(max_bytes=10, files=2))
    file.write(b"x" * 100)
    file.close()
    assert (tmp_path / "a.log").read_bytes() == b"x" * 100


@pytest.mark.req("AG-431", "V2-270")
def test_by_day_a_file_is_kept_under_the_day_it_was_written(tmp_path: Path, by_day: ByDay) -> None:
    path = tmp_path / "ferryman-agent.log"
    path.write_bytes(b"yesterday\n")
    written_on(path, date(2024, 3, 9))
    file = RotatedFile(path, by_day)
    file.write(b"today\n")
    written_on(path, date(2024, 3, 10))
    file.write(b"again\n")
    file.close()
    assert names(tmp_path) == ["ferryman-agent.20240309.log", "ferryman-agent.log"]
    assert path.read_bytes() == b"today\nagain\n"


@pytest.mark.req("V2-270")
def test_by_day_a_large_day_has_several_files(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = RotatedFile(path, ByDay(today=lambda: date(2024, 3, 10), max_bytes=10))
    for number in range(3):
        file.write(b"record %d\n" % number)
        written_on(path, date(2024, 3, 10))
    file.close()
    assert names(tmp_path) == ["a.20240310.1.log", "a.20240310.log", "a.log"]
    assert (tmp_path / "a.20240310.1.log").read_bytes() == b"record 1\n"


@pytest.mark.req("AG-442")
def test_by_day_old_files_go_also_after_downtime(tmp_path: Path, by_day: ByDay) -> None:
    for name in (
        "a.20240302.log",
        "a.20240302.4.log",
        "a.20240303.log",
        "a.20240309.log",
        "other.20200101.log",
    ):
        (tmp_path / name).touch()
    file = RotatedFile(tmp_path / "a.log", by_day)
    file.write(b"x\n")
    file.close()
    assert names(tmp_path) == ["a.20240303.log", "a.20240309.log", "a.log", "other.20200101.log"]


@pytest.mark.req("AG-441", "AG-T78", "AG-S15", "AG-X43", "K31")
@pytest.mark.parametrize("gone", ["unlink", "rename", "folder"])
def test_a_deleted_or_moved_file_comes_back_with_the_next_write(tmp_path: Path, gone: str) -> None:
    path = tmp_path / "logs" / "a.log"
    file = RotatedFile(path, BySize())
    file.write(b"one\n")
    if gone == "rename":
        path.rename(tmp_path / "moved.log")
    else:
        path.unlink()
    if gone == "folder":
        path.parent.rmdir()
    file.write(b"two\n")
    file.close()
    assert path.read_bytes() == b"two\n"


@pytest.mark.req("AG-441")
def test_a_file_that_somebody_put_in_its_place_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = RotatedFile(path, BySize())
    file.write(b"one\n")
    path.rename(tmp_path / "moved.log")
    path.touch()
    file.write(b"two\n")
    file.close()
    assert path.read_bytes() == b"two\n"


def test_two_writers_of_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    writers = [RotatedFile(path, BySize(max_bytes=30, files=20)) for _ in range(2)]
    for number in range(40):
        writers[number % 2].write(b"record %02d\n" % number)
    for writer in writers:
        writer.close()
    kept = sorted(b"".join(file.read_bytes() for file in tmp_path.iterdir()).splitlines())
    assert kept == [b"record %02d" % number for number in range(40)]


@pytest.mark.req("AG-447", "V2-280")
def test_files_are_0640_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        file = RotatedFile(tmp_path / "a.log", BySize())
        file.write(b"x")
    finally:
        os.umask(before)
    file.close()
    assert (tmp_path / "a.log").stat().st_mode & 0o7777 == 0o640


@pytest.mark.req("V2-281")
def test_a_mode_that_somebody_chose_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch(mode=0o600)
    file = RotatedFile(tmp_path / "a.log", BySize())
    file.write(b"x")
    file.close()
    assert (tmp_path / "a.log").stat().st_mode & 0o7777 == 0o600


def test_after_a_torn_write_the_next_record_has_a_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RotatedFile(tmp_path / "a.log", BySize())
    really = os.write
    written = 0

    def full_disk(descriptor: int, data: memoryview) -> int:
        nonlocal written
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = really(descriptor, data[:4])
        return written

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        file.write(b"a long record\n")
    monkeypatch.undo()
    file.write(b"next\n")
    file.close()
    assert (tmp_path / "a.log").read_bytes() == b"a lo\nnext\n"
