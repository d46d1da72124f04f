"""Runs on Windows: the stand-in for `os` on a real file system. Prints `ok` when all of it holds."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

from ferryman_agent.files.tree import FILE_FLAGS, Folders, remove_tree, walk
from ferryman_agent.hooks import windows_processes
from ferryman_agent.hooks.windows_job import Job
from ferryman_agent.system import fcntl, fs


def refused(name: str, folder: int) -> int | None:
    """Returns why a file cannot be opened."""
    try:
        os.close(fs.open(name, FILE_FLAGS, dir_fd=folder))
    except OSError as error:
        return error.errno
    return None


def files(top: Path) -> None:
    """Folders by descriptors: made, filled, listed, renamed, removed."""
    top.mkdir()
    with Folders.below(top) as folders:
        inner = folders.folder("a/b", create=True)
        descriptor = fs.open("x.txt", fs.O_RDWR | fs.O_CREAT | fs.O_EXCL | fs.O_NOFOLLOW, 0o600, dir_fd=inner)
        os.write(descriptor, b"one\ntwo\n")
        assert fs.pread(descriptor, 3, 4) == b"two"
        assert fs.pwrite(descriptor, b"ONE", 0) == 3
        assert stat.S_IMODE(fs.fstat(descriptor).st_mode) == 0o600
        # Elsewhere an open file can be renamed and removed; so it can here.
        fs.rename("x.txt", "y.txt", src_dir_fd=inner, dst_dir_fd=inner)
        os.close(descriptor)
        reading = fs.open("y.txt", FILE_FLAGS, dir_fd=inner)
        assert os.read(reading, 100) == b"ONE\ntwo\n"
        os.close(reading)
        appending = fs.open("y.txt", fs.O_WRONLY | fs.O_APPEND, dir_fd=inner)
        os.write(appending, b"three\n")
        os.close(appending)
        fs.utime(str(top / "a" / "b" / "y.txt"), ns=(10**18, 10**18))
        assert fs.stat("y.txt", dir_fd=inner).st_mtime_ns == 10**18
        for name, number in (("no.txt", errno.ENOENT), ("a:b", errno.EINVAL), ("con", errno.EINVAL)):
            assert refused(name, inner) == number, name
        assert [path for path, _ in walk(folders)] == ["a", "a/b", "a/b/y.txt"]
    parent = fs.open(top.parent, fs.O_RDONLY | fs.O_DIRECTORY)
    assert remove_tree(parent, top.name) == 14
    os.close(parent)
    assert not top.exists()


def held_folders(top: Path) -> None:
    """Nobody moves a folder away from under an open descriptor."""
    (top / "mine").mkdir(parents=True)
    held = fs.open(top / "mine", fs.O_RDONLY | fs.O_DIRECTORY)
    try:
        (top / "mine").rename(top / "theirs")
    except OSError:
        pass
    else:
        raise AssertionError("an open folder was renamed")
    os.close(held)
    (top / "mine").rename(top / "theirs")


def the_machine(top: Path) -> None:
    """`/` holds the drives."""
    place = f"{top.drive}/{top.as_posix()[3:]}"
    top.mkdir()
    with Folders.below("/") as host:
        assert "C:" in fs.listdir(host.folder(""))
        found = host.look(place)
        assert found is not None
        assert stat.S_ISDIR(found.st_mode)
        try:
            host.folder("server/share")
        except FileNotFoundError:
            pass
        else:
            raise AssertionError("a share is no drive")


def long_paths(top: Path) -> None:
    """Longer than 260 characters (AG-539)."""
    top.mkdir()
    with Folders.below(top) as folders:
        deep = "/".join(["d" * 60] * 8)
        inner = folders.folder(deep, create=True)
        os.close(fs.open("x", fs.O_WRONLY | fs.O_CREAT | fs.O_EXCL, dir_fd=inner))
        assert folders.look(f"{deep}/x") is not None


def locks(top: Path) -> None:
    """One process at a time, and the kernel lets go."""
    path = top / "lock"
    top.mkdir()
    mine = fs.open(path, fs.O_RDWR | fs.O_CREAT, 0o600)
    fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(mine, b"me")
    other = fs.open(path, fs.O_RDWR)
    assert os.read(other, 10) == b"me"
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        raise AssertionError("two have the lock")
    os.close(mine)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def processes() -> None:
    """They are recognised by their start, and ended by nobody else's number."""
    own = windows_processes.read(os.getpid())
    assert own is not None
    assert own.is_alive
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    found = windows_processes.read(child.pid)
    assert found is not None
    assert child.pid in {each.pid for each in windows_processes.below(os.getpid())}
    import ctypes
    from dataclasses import replace

    job = Job.holding(ctypes.c_void_p(int(child._handle)))  # type: ignore[attr-defined]  # Windows
    windows_processes.end(replace(found, started_at_ticks=found.started_at_ticks + 1))
    assert child.poll() is None
    windows_processes.end(found)
    assert child.wait(20) == 1
    job.close()
    assert windows_processes.boot_id()


if __name__ == "__main__":
    root = Path(sys.argv[1])
    root.mkdir(parents=True)
    files(root / "files")
    held_folders(root / "held")
    the_machine(root / "machine")
    long_paths(root / "long")
    locks(root / "locks")
    processes()
    sys.stdout.write("ok\n")
