"""Trees by descriptors: never through a link, whatever the names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferryman_agent.files.tree import Folders, remove_tree, walk
from tests.support.bundles import tree


def remove(path: Path) -> int:
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        return remove_tree(parent, path.name)
    finally:
        os.close(parent)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    (path / "deep").mkdir(parents=True)
    (path / "precious").write_bytes(b"x" * 10)
    return path


@pytest.mark.req("AG-177", "AG-332")
def test_links_are_removed_and_what_they_lead_to_stays(tmp_path: Path, outside: Path) -> None:
    before = tree(outside)
    doomed = tmp_path / "doomed"
    (doomed / "sub").mkdir(parents=True)
    (doomed / "link").symlink_to(outside)
    (doomed / "sub" / "file-link").symlink_to(outside / "precious")
    (doomed / "sub" / "loop").symlink_to("..")
    (doomed / "dangling").symlink_to("nowhere")
    remove(doomed)
    assert not doomed.exists()
    assert tree(outside) == before
    (tmp_path / "top").symlink_to(outside)
    remove(tmp_path / "top")
    assert not (tmp_path / "top").is_symlink()
    assert tree(outside) == before


@pytest.mark.req("AG-177", "AG-259", "AG-X19")
def test_odd_names_are_only_names(tmp_path: Path) -> None:
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    names = [b"a b", b"-rf", b"$(touch x)", b"new\nline", b"\xff\xfe", b"*", b"; rm -rf ~", "ümlaut".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(doomed) + b"/" + name)).write_bytes(b"1")
    assert remove(doomed) == len(names)
    assert os.listdir(tmp_path) == []


def test_missing_and_single_files(tmp_path: Path) -> None:
    assert remove(tmp_path / "nothing") == 0
    (tmp_path / "file").write_bytes(b"12345")
    assert remove(tmp_path / "file") == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any folder")
def test_folders_without_write_permission_are_opened_up(tmp_path: Path) -> None:
    closed = tmp_path / "doomed" / "closed"
    closed.mkdir(parents=True)
    (closed / "x").touch()
    closed.chmod(0o500)
    (tmp_path / "doomed").chmod(0o000)
    remove(tmp_path / "doomed")
    assert os.listdir(tmp_path) == []


def test_a_deep_tree_needs_no_deep_stack(tmp_path: Path) -> None:
    path = tmp_path / "doomed"
    for _ in range(300):
        path /= "d"
    path.mkdir(parents=True)
    (path / "f").touch()
    remove(tmp_path / "doomed")
    assert os.listdir(tmp_path) == []


@pytest.mark.req("V2-125")
def test_folders_refuse_links_on_the_way(tmp_path: Path, outside: Path) -> None:
    before = tree(outside)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(outside)
    with Folders.below(tmp_path / "root") as folders:
        with pytest.raises(OSError, match="(?i)symbolic links|not a directory"):
            folders.folder("link")
        with pytest.raises(OSError, match="(?i)symbolic links|not a directory"):
            folders.folder("link/deep", create=True)
        with pytest.raises(OSError, match="(?i)symbolic links|not a directory"):
            folders.parent("link/new", create=True)
        status = folders.look("link")
    assert status is not None
    assert tree(outside) == before


def test_many_folders_do_not_use_up_descriptors(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with Folders.below(tmp_path) as folders:
        for number in range(300):
            descriptor = folders.folder(f"a/{number}/x", create=True)
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        assert len(list(walk(folders))) == 1 + 300 * 3
        if before:
            assert len(os.listdir("/proc/self/fd")) < before + 70
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_walk_is_in_order_and_does_not_follow(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "root" / "b").mkdir(parents=True)
    (tmp_path / "root" / "b" / "x").touch()
    (tmp_path / "root" / "a").touch()
    (tmp_path / "root" / "c").symlink_to(outside)
    with Folders.below(tmp_path / "root") as folders:
        assert [path for path, _ in walk(folders)] == ["a", "b", "c", "b/x"]
