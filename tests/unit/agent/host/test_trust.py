"""Directories that others can move are told of; those of root and of the agent's user are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferryman_agent.host.trust import remarks
from tests.support.components import require_root


def told(path: Path) -> list[str]:
    return list(remarks([("root_dir", path)]))


def test_a_directory_of_our_own_below_tmp(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    assert told(tmp_path / "a") == []
    assert told(tmp_path / "a" / "missing") == []


@pytest.mark.parametrize("mode", [0o777, 0o702])
@pytest.mark.parametrize("name", ["a", "a/b"])
def test_one_that_others_may_write_to(tmp_path: Path, mode: int, name: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / name).chmod(mode)
    (remark,) = told(tmp_path / "a" / "b")
    assert remark.startswith(f"root_dir {tmp_path}/a/b is not safe: {tmp_path / name} can be written to")
    (tmp_path / name).chmod(mode | 0o1000)
    assert told(tmp_path / "a" / "b") == []


def test_a_group_of_others_counts_like_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o770)
    assert told(tmp_path / "a") == []
    require_root()
    os.chown(tmp_path / "a", 0, 12_345)
    assert "can be written to by others (mode 0770)" in told(tmp_path / "a")[0]


def test_one_of_somebody_else(tmp_path: Path) -> None:
    require_root()
    (tmp_path / "a" / "b").mkdir(parents=True)
    os.chown(tmp_path / "a", 12_345, 0)
    assert "belongs to user 12345" in told(tmp_path / "a" / "b")[0]
    os.chown(tmp_path / "a", 0, 0)
    (tmp_path / "link").symlink_to("a")
    assert told(tmp_path / "link" / "b") == []
    os.lchown(tmp_path / "link", 12_345, 0)
    assert "belongs to user 12345" in told(tmp_path / "link" / "b")[0]
