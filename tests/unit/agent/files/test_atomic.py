"""Writes that are there wholly or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ferryman_agent.files.atomic import TEMPORARY_PREFIX, make_directory, remove_leftovers, write_atomic


@pytest.mark.req("V2-282", "AG-153")
def test_the_old_file_is_replaced_with_the_exact_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o666)
    write_atomic(path, b"new", 0o640)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.req("V2-282")
def test_a_link_in_its_place_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "x").symlink_to("target")
    write_atomic(tmp_path / "x", b"new")
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert not (tmp_path / "x").is_symlink()


@pytest.mark.req("V2-282", "AG-153")
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.req("V2-283")
def test_temporary_names_are_unique_and_leftovers_go(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}dead").write_bytes(b"half")
    write_atomic(tmp_path / "x", b"new")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.req("V2-280")
def test_existing_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o777)
    (tmp_path / "a").chmod(0o777)
    make_directory(tmp_path / "a" / "b" / "c", 0o701)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")]
    assert modes == [0o777, 0o701, 0o701]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(NotADirectoryError):
        make_directory(tmp_path / "a" / "b", 0o700)
