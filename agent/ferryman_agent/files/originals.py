"""Keeps the originals of files that an install overwrites, until nobody can want them back (AG-328, CP-347).

They lie in `<deployment>/overwritten/`, by number; what they are is in the group's record, a JSON line each.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec
import structlog

from ferryman_agent.core.messages import GroupId
from ferryman_agent.core.overwritten import Original
from ferryman_agent.errors import InstallError
from ferryman_agent.files.atomic import make_directory, write_atomic
from ferryman_agent.files.digests import from_text, to_text
from ferryman_agent.files.duplicate import duplicate
from ferryman_agent.files.layout import PRIVATE_MODE, STATE_FILE_MODE, DeploymentDir, Layout
from ferryman_agent.files.tree import Folders, remove_tree
from ferryman_agent.system import fs

log = structlog.get_logger(__name__)


class _Row(msgspec.Struct, frozen=True):
    path: str
    deployment: str
    kept: str
    size: int = 0
    group: str = ""


_decoder = msgspec.json.Decoder(_Row)


def read_originals(path: Path) -> tuple[Original, ...]:
    """Reads a group's record; what is whole of one that a crash cut short (V2-288). Raises OSError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    found: dict[str, Original] = {}
    for line in content.split(b"\n")[:-1]:
        try:
            row = _decoder.decode(line)
            one = Original(from_text(row.path), row.deployment, row.kept, row.size, row.group)
        except (msgspec.MsgspecError, UnicodeError, ValueError):
            log.warning("originals.line_unusable", path=str(path))
            continue
        if _is_ours(one.kept) and one.path.startswith("/"):
            found[one.path] = one
    return tuple(found.values())


def kept_in(originals: Iterable[Original]) -> frozenset[str]:
    """Returns the deployments whose folders hold them."""
    return frozenset(one.kept.partition("/")[0] for one in originals)


class Originals:
    """The originals of one group during one install. Use as a context manager."""

    def __init__(self, record: Path, directory: DeploymentDir) -> None:
        """`record` is the group's record; `directory` is the deployment that installs."""
        self._record = record
        self._directory = directory
        self._own = directory.path.name
        self._folders = Folders.below(directory.path.parent)
        self._new: dict[str, Original] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._unsaved: list[Original] = []
        self._number = 0

    def __enter__(self) -> Originals:
        return self

    def __exit__(self, *_: object) -> None:
        self._folders.close()

    def is_there(self, original: Original) -> bool:
        """Says whether a kept original can be put back."""
        with contextlib.suppress(OSError):
            return self._folders.look(original.kept) is not None
        return False

    def keep(self, path: str, folder: int, name: str, group: str = "") -> None:
        """Keeps what is at `name` in an open folder; `flush` must follow before it is replaced. `group`: whose it is.

        Nothing is done when the same object is kept already. Raises InstallError.
        """
        status = fs.stat(name, dir_fd=folder, follow_symlinks=False)
        mark = (status.st_dev, status.st_ino)
        if self._seen.get(path) == mark:
            return
        try:
            kept = self._duplicate(folder, name)
        except PermissionError as problem:
            message = (
                f"cannot keep the original of {path}, which is replaced, for a rollback: {problem.strerror};"
                " run the agent as root, or move the file away by hand"
            )
            raise InstallError("INSTALL_ORIGINAL_NOT_KEPT", message) from problem
        original = Original(path, self._own, kept, status.st_size, group)
        self._new[path], self._seen[path] = original, mark
        self._unsaved.append(original)

    def flush(self) -> None:
        """Sees that what was kept outlives a crash, with its record. Raises OSError."""
        if not self._unsaved:
            return
        fs.fsync(self._folders.folder(f"{self._own}/overwritten"))
        data = memoryview(_encoded(self._unsaved))
        flags = fs.O_WRONLY | fs.O_CREAT | fs.O_APPEND | fs.O_NOFOLLOW
        descriptor = fs.open(self._record, flags, STATE_FILE_MODE)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            fs.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._unsaved.clear()

    def stage(self, kept: str, folder: int, name: str) -> os.stat_result:
        """Makes `name` in an open folder the original again, and returns its status. Raises OSError."""
        own, own_name = self._folders.parent(kept)
        try:
            duplicate(own, own_name, folder, name)
        except FileExistsError:
            # Left behind by an install that was killed.
            fs.unlink(name, dir_fd=folder)
            duplicate(own, own_name, folder, name)
        return fs.stat(name, dir_fd=folder, follow_symlinks=False)

    def record_after(self, before: Iterable[Original], ours: Collection[str]) -> str:
        """Returns the record as it must be after a success.

        `before`: those that counted until now; `ours`: the paths that are the group's then.
        """
        left = {one.path: one._replace(deployment=self._own) for one in before if one.path in ours}
        left |= {path: one for path, one in self._new.items() if path in ours and path not in left}
        return _encoded(left.values()).decode()

    def _duplicate(self, folder: int, name: str) -> str:
        if not self._number:
            self._number = self._prepare()
        own = self._folders.folder(f"{self._own}/overwritten")
        self._number += 1
        duplicate(folder, name, own, str(self._number))
        return f"{self._own}/overwritten/{self._number}"

    def _prepare(self) -> int:
        """Makes the folder, or clears it of what an attempt that was killed kept in vain; returns the last number."""
        make_directory(self._directory.overwritten, PRIVATE_MODE)
        needed = {one.kept for one in read_originals(self._record)}
        folder = self._folders.folder(f"{self._own}/overwritten")
        numbers = [0]
        for name in fs.listdir(folder):
            if f"{self._own}/overwritten/{name}" in needed:
                numbers.append(int(name))
            else:
                remove_tree(folder, name)
        return max(numbers)


def save_originals(record: Path, content: str) -> None:
    """Replaces a group's record by what `record_after` returned. Raises OSError."""
    if content:
        write_atomic(record, content.encode(), STATE_FILE_MODE)
    else:
        record.unlink(missing_ok=True)


def forget_originals(layout: Layout, group_id: GroupId, deployment: str, journal: Collection[str]) -> None:
    """An install was taken back: what it kept of places that are not the group's is of no use. Raises OSError."""
    record = layout.originals(group_id)
    originals = read_originals(record)
    left = [one for one in originals if one.path in journal]
    if len(left) != len(originals):
        save_originals(record, _encoded(left).decode())
    folder = layout.deployment(group_id, deployment).overwritten
    try:
        names = fs.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    needed = {one.kept for one in left}
    # Not only what has a row: the last one kept may not have got it any more.
    found = {f"{deployment}/{folder.name}/{name}" for name in names}
    remove_kept(layout, group_id, found - needed)


def remove_kept(layout: Layout, group_id: GroupId, kept: Iterable[str]) -> None:
    """Removes originals that nobody needs any more, and the folders that become empty."""
    names = [name for name in kept if _is_ours(name)]
    if not names:
        return
    with contextlib.suppress(OSError), Folders.below(layout.group(group_id)) as group:
        for name in names:
            with contextlib.suppress(OSError):
                folder, last = group.parent(name)
                fs.unlink(last, dir_fd=folder)
        for folder_name in {name.rpartition("/")[0] for name in names}:
            with contextlib.suppress(OSError):
                group.forget(folder_name)
                folder, last = group.parent(folder_name)
                fs.rmdir(last, dir_fd=folder)


def _encoded(originals: Iterable[Original]) -> bytes:
    rows = (_Row(to_text(one.path), one.deployment, one.kept, one.size, one.group) for one in originals)
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _is_ours(kept: str) -> bool:
    """Says whether a text of the record leads to a kept original, and nowhere else."""
    parts = kept.split("/")
    return (
        len(parts) == 3
        and parts[0] not in ("", ".", "..")
        and parts[1] == "overwritten"
        and parts[2].isdigit()
    )
