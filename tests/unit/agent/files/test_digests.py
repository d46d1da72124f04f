"""Remembered digests: only as long as nothing could have changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ferryman_agent.files.digests import Digests, mark_of, sha256_of


def aged(path: Path, content: bytes) -> os.stat_result:
    """A file whose change is older than the record's own safety margin can tell: its times are read back."""
    path.write_bytes(content)
    return path.stat()


def record(name: str, status: os.stat_result, digest: str) -> Digests:
    digests = Digests()
    inode, size, modified, changed = mark_of(status)
    digests.remember(name, (inode, size, modified, changed), digest)
    return digests


def test_an_untouched_file_is_known(tmp_path: Path) -> None:
    status = aged(tmp_path / "f", b"one")
    digests = record("f", status, "abc")
    assert digests.known("f", status) == "abc"
    assert digests.known("g", status) is None


@pytest.mark.parametrize("change", ["content", "times", "replaced", "mode"])
def test_any_touch_forgets(tmp_path: Path, change: str) -> None:
    path = tmp_path / "f"
    status = aged(path, b"one")
    digests = record("f", status, "abc")
    if change == "content":
        path.write_bytes(b"two")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "times":
        os.utime(path, ns=(1, 1))
    elif change == "replaced":
        other = tmp_path / "g"
        other.write_bytes(b"two")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(path)
    else:
        path.chmod(0o600)
    after = path.stat()
    if after.st_ctime_ns == status.st_ctime_ns and after.st_ino == status.st_ino:
        pytest.skip("the clock of this file system is too coarse to tell")
    assert digests.known("f", after) is None


def test_what_was_changed_just_now_is_remembered_but_not_believed(tmp_path: Path) -> None:
    status = aged(tmp_path / "f", b"one")
    digests = record("fresh", status, "abc")
    inode, size, modified, changed = mark_of(status)
    digests.remember("old", (inode, size, modified, changed - 10**9), "def")
    digests.save(tmp_path / "record")
    loaded = Digests.load(tmp_path / "record")
    assert loaded.known("fresh", status) is None
    assert loaded.rows["fresh"].sha256 == "abc"
    assert loaded.rows["old"].changed_ns == changed - 10**9
    assert sorted(os.listdir(tmp_path)) == ["f", "record"]


@pytest.mark.req("AG-259")
def test_names_of_any_bytes_round_trip(tmp_path: Path) -> None:
    names = ["plain", "ä", os.fsdecode(b"\xff\xfe/x"), 'q"\\\n']
    digests = Digests()
    for name in names:
        digests.remember(name, (1, 2, 3, 4), "abc")
    digests.save(tmp_path / "record")
    loaded = Digests.load(tmp_path / "record")
    assert sorted(loaded.rows) == sorted(names)
    assert all(row.mark == (1, 2, 3, 4) for row in loaded.rows.values())


@pytest.mark.req("V2-288")
@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[[1]]", b'[["a",1,2,3,4]]', b"\xff\xfe", b'[["\\u0000zz",1,2,3,4,"d"]]']
)
def test_a_broken_record_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record").write_bytes(content)
    assert Digests.load(tmp_path / "record").rows == {}
    assert Digests.load(tmp_path / "none").rows == {}


def test_rows_below_a_folder() -> None:
    digests = Digests()
    for name in ("top/a", "top/b/c", "topper/x", "y"):
        digests.remember(name, (1, 2, 3, 4), "abc")
    assert set(digests.below("top").rows) == {"a", "b/c"}


def test_sha256(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 7)
    (tmp_path / "f").write_bytes(content)
    with (tmp_path / "f").open("rb") as file:
        assert sha256_of(file.fileno()) == hashlib.sha256(content).hexdigest()
