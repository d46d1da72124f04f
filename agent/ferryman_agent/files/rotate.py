"""Append-only log files that begin anew by size or by day, and that come back when somebody deletes or moves them.

Several writers of one file, as the combined deployments log has, may each hold a `RotatedFile`: before every write it
looks whether the name still leads to the file that it has open.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

from ferryman_agent.system import fs

MIB = 1024 * 1024


class Rotation(Protocol):
    """When a file is full, and under which name it is kept."""

    def is_due(self, size: int, modified: float, adding: int) -> bool:
        """Whether a file of `size` bytes, last written at `modified`, has no room for `adding` more.

        `modified` is in seconds since the epoch, here and in `turn`.
        """

    def turn(self, path: Path, modified: float) -> None:
        """Move the full file out of the way and remove what is too old. Raises OSError when it cannot be moved."""

    def tidy(self, path: Path) -> None:
        """Remove what is too old; called when the file is opened, so that downtime keeps nothing alive (AG-442)."""


@dataclass(frozen=True, slots=True)
class BySize:
    """`name`, `name.1`, … `name.<files - 1>`: the newest has no number, the oldest is dropped (AG-438, V2-264)."""

    max_bytes: int = 64 * MIB
    files: int = 8

    def is_due(self, size: int, modified: float, adding: int) -> bool:
        return size > 0 and size + adding > self.max_bytes

    def turn(self, path: Path, modified: float) -> None:
        for number in range(self.files - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            with contextlib.suppress(FileNotFoundError):
                fs.replace(newer, older)
        if self.files == 1:
            path.unlink(missing_ok=True)

    def tidy(self, path: Path) -> None:
        """Nothing: the number of files is bounded by their names."""


@dataclass(frozen=True, slots=True)
class ByDay:
    """`stem.YYYYMMDD.log`, or `stem.YYYYMMDD.N.log` for a day with more than `max_bytes` (AG-431, V2-270).

    `today` gives the date by host time; files of days more than `keep_days` before it are removed.
    """

    today: Callable[[], date]
    keep_days: int = 7
    max_bytes: int = 64 * MIB

    def is_due(self, size: int, modified: float, adding: int) -> bool:
        return size > 0 and (size + adding > self.max_bytes or _day(modified) < self.today())

    def turn(self, path: Path, modified: float) -> None:
        stamp = f"{path.stem}.{_day(modified):%Y%m%d}"
        target = path.with_name(f"{stamp}{path.suffix}")
        number = 0
        while target.exists():
            number += 1
            target = path.with_name(f"{stamp}.{number}{path.suffix}")
        fs.rename(path, target)
        self.tidy(path)

    def tidy(self, path: Path) -> None:
        oldest = f"{self.today() - timedelta(days=self.keep_days):%Y%m%d}"
        dated = re.compile(rf"{re.escape(path.stem)}\.(\d{{8}})(\.\d+)?{re.escape(path.suffix)}")
        # A file that cannot be removed must not keep the log from going on.
        with contextlib.suppress(OSError):
            for entry in path.parent.iterdir():
                match = dated.fullmatch(entry.name)
                if match and match[1] < oldest:
                    entry.unlink(missing_ok=True)


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds).astimezone().date()


class RotatedFile:
    """Appends whole records to `path`. Nothing is created before the first write.

    The file is made with exactly `mode` whatever the umask (AG-447); the mode of one that exists is left alone.
    """

    def __init__(self, path: Path, rotation: Rotation, *, mode: int = 0o640) -> None:
        self.path = path
        self._rotation = rotation
        self._mode = mode
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._is_torn = False

    def write(self, data: bytes) -> None:
        """Append `data`, rotating first when it is due. Raises OSError; what was written up to then stays."""
        descriptor = self._writable(len(data))
        record = memoryview(b"\n" + data if self._is_torn else data)
        written = 0
        try:
            while written < len(record):
                written += os.write(descriptor, record[written:])
        finally:
            if written:
                # After a full disk the next record begins on a line of its own.
                self._is_torn = written < len(record)

    def close(self) -> None:
        """Let go of the file; a later write opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _writable(self, adding: int) -> int:
        found = self._stat()
        if found is not None and self._rotation.is_due(found.st_size, found.st_mtime, adding):
            self.close()
            self._rotation.turn(self.path, found.st_mtime)
            found = None
        if self._descriptor is None or found is None or self._identity != (found.st_dev, found.st_ino):
            self.close()
            self._descriptor = self._open()
        return self._descriptor

    def _stat(self) -> os.stat_result | None:
        try:
            return fs.stat(self.path)
        except FileNotFoundError:
            return None

    def _open(self) -> int:
        flags = fs.O_WRONLY | fs.O_APPEND | fs.O_CLOEXEC
        try:
            descriptor = fs.open(self.path, flags)
        except FileNotFoundError:
            descriptor = self._create(flags | fs.O_CREAT)
        opened = fs.fstat(descriptor)
        self._identity = (opened.st_dev, opened.st_ino)
        self._rotation.tidy(self.path)
        return descriptor

    def _create(self, flags: int) -> int:
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            descriptor = fs.open(self.path, flags | fs.O_EXCL, self._mode)
        except FileExistsError:  # another writer was faster
            return fs.open(self.path, flags, self._mode)
        fs.fchmod(descriptor, self._mode)
        return descriptor
