"""The journal's file: appended to, made durable in groups, mended after a crash, written anew when it has grown.

Appending is one write to the page cache, which outlives the agent's own death; `sync` makes it outlive the machine's.
A full disk is met with a small reserve that is kept beside the file, so that the failure it causes can be recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ferryman_agent.errors import JournalError
from ferryman_agent.runtime.records import FORMAT, Format, Record, RecordBroken, from_line, to_line
from ferryman_agent.system import fs

RESERVE_BYTES = 128 * 1024
REWRITE_BYTES = 1024 * 1024
QUARANTINE_BYTES = 1024 * 1024


@dataclass(slots=True)
class Contents:
    """What reading the file gave: its records, and how many lines were set aside as broken."""

    records: list[Record] = field(default_factory=list)
    broken: list[bytes] = field(default_factory=list)
    is_last_line_cut: bool = False


class JournalFile:
    """One process writes it at a time: the agent's lock sees to that. Mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._written = 0
        self._durable = 0
        self._size = 0
        self._rewritten_size = 0
        self._broken = ""
        self._lock = asyncio.Lock()
        # Its own thread: installs that take minutes may fill the pool that everybody shares.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    @property
    def has_grown(self) -> bool:
        """Whether writing it anew is worth the time."""
        return self._size > max(REWRITE_BYTES, 2 * self._rewritten_size)

    def open(self) -> Contents:
        """Reads what is there and makes it ready to be appended to.

        A cut last line is dropped, any other broken line moved to `<name>.quarantine`. Raises JournalError.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_leftovers()
            contents = _read(self.path)
            if contents.broken:
                self._quarantine(contents.broken)
            self._open_for_appending(is_new=not contents.records)
            self._refill_reserve()
        except OSError as error:
            raise JournalError(f"cannot open the journal {self.path}: {error.strerror}") from error
        return contents

    def append(self, records: Iterable[Record]) -> None:
        """Writes the records, all or none. Raises JournalError, for example when the disk is full."""
        self._demand_whole()
        data = b"".join(to_line(record) for record in records)
        try:
            self._write(data)
        except OSError as error:
            if not self._release_reserve():
                raise self._failure(error) from error
            try:
                self._write(data)
            except OSError as again:
                raise self._failure(again) from again

    async def sync(self) -> None:
        """Returns when everything appended so far is on disk; callers at the same time share one flush.

        Raises JournalError; nothing later can be trusted then: the kernel may have dropped what it could not write.
        """
        target = self._written
        async with self._lock:
            self._demand_whole()
            if self._durable >= target:
                return
            reached, descriptor = self._written, self._descriptor
            flush = asyncio.get_running_loop().run_in_executor(self._thread, fs.fdatasync, descriptor)
            try:
                await asyncio.shield(flush)
            except OSError as error:
                self._broken = f"cannot flush the journal {self.path}: {error.strerror}"
                raise JournalError(self._broken) from error
            self._durable = max(self._durable, reached)

    def rewrite(self, records: Iterable[Record]) -> None:
        """Replaces the whole file by these records, durably. Raises JournalError and leaves the old one as it was."""
        data = b"".join(to_line(record) for record in (Format(version=FORMAT), *records))
        temporary = self.path.with_name(f"{self.path.name}.new")
        try:
            _write_durably(temporary, data)
            descriptor = fs.open(temporary, fs.O_WRONLY | fs.O_APPEND | fs.O_CLOEXEC)
            fs.replace(temporary, self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise self._failure(error) from error
        # A flush under way keeps the old file by a descriptor of its own thread's call: close it behind that.
        self._thread.submit(os.close, self._descriptor)
        self._descriptor = descriptor
        self._size = self._rewritten_size = len(data)
        self._durable = self._written
        self._refill_reserve()

    def close(self) -> None:
        """Lets go of the file, after a last flush."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                fs.fdatasync(self._descriptor)
            self._thread.shutdown(wait=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def _demand_whole(self) -> None:
        # The kernel tells of lost data once; the next flush would succeed, and say nothing of what is missing.
        if self._broken:
            raise JournalError(self._broken)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # Half a group must not stay: what follows would be glued to it.
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)
        self._written += len(data)

    def _open_for_appending(self, *, is_new: bool) -> None:
        flags = fs.O_WRONLY | fs.O_APPEND | fs.O_CREAT | fs.O_CLOEXEC
        self._descriptor = fs.open(self.path, flags, 0o600)
        fs.fchmod(self._descriptor, 0o600)
        self._size = _whole_lines(self.path)
        os.ftruncate(self._descriptor, self._size)
        if is_new:
            self._write(to_line(Format(version=FORMAT)))
            fs.fsync(self._descriptor)
            _sync_folder(self.path.parent)

    @property
    def _reserve(self) -> Path:
        return self.path.with_name(f"{self.path.name}.reserve")

    def _refill_reserve(self) -> None:
        with contextlib.suppress(OSError):
            if not self._reserve.exists() or self._reserve.stat().st_size < RESERVE_BYTES:
                _write_durably(self._reserve, b"\0" * RESERVE_BYTES)

    def _release_reserve(self) -> bool:
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    def _remove_leftovers(self) -> None:
        self.path.with_name(f"{self.path.name}.new").unlink(missing_ok=True)

    def _quarantine(self, lines: list[bytes]) -> None:
        target = self.path.with_name(f"{self.path.name}.quarantine")
        # For people to look at; when it cannot be written, the rest matters more.
        with contextlib.suppress(OSError), open(target, "ab", opener=_private) as file:
            room = max(0, QUARANTINE_BYTES - file.tell())
            file.write(b"".join(line + b"\n" for line in lines)[:room])

    def _failure(self, error: OSError) -> JournalError:
        return JournalError(f"cannot write the journal {self.path}: {error.strerror}; free some space there")


def _read(path: Path) -> Contents:
    contents = Contents()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return contents
    *lines, last = data.split(b"\n")
    contents.is_last_line_cut = bool(last)
    for line in lines:
        try:
            record = from_line(line)
        except RecordBroken:
            contents.broken.append(line)
            continue
        if isinstance(record, Format) and record.version > FORMAT:
            raise JournalError(
                f"the journal {path} was written by a newer agent (format {record.version}, this one knows {FORMAT}): "
                "install that version again"
            )
        contents.records.append(record)
    return contents


def _whole_lines(path: Path) -> int:
    """Bytes up to and with the last newline."""
    return path.read_bytes().rfind(b"\n") + 1


def _private(path: str, flags: int) -> int:
    return fs.open(path, flags | fs.O_CLOEXEC, 0o600)


def _write_durably(path: Path, data: bytes) -> None:
    with open(path, "wb", opener=_private) as file:
        file.write(data)
        file.flush()
        fs.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = fs.open(path, fs.O_RDONLY | fs.O_DIRECTORY)
    try:
        fs.fsync(descriptor)
    finally:
        os.close(descriptor)
