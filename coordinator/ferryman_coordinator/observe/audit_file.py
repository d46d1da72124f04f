"""The audit log as a file of JSON lines, for whoever collects such files (CP-449, PF-268).

Each line holds a record with its place in the chain, so the file can be verified by itself. What the file does not
have yet is read from the database: a full disk delays lines, it loses none that the database still keeps.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.store.queries import audit as queries
from ferryman_coordinator.store.queries.audit import StoredRecord
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_AT_ONCE = 1_000
_AGAIN_S = 10.0
_TAIL = 1 << 20
"""A record is never longer than this: its texts are cut."""

_MODE = 0o640


class AuditLine(msgspec.Struct, rename="camel"):
    """One line of the file."""

    sequence: int
    hash: str
    record: msgspec.Raw


class AuditFile:
    """`run` as a task; `more` says that there are new records."""

    def __init__(self, store: Store, path: Path, size_limit: int, kept: int) -> None:
        self._store = store
        self._path = path
        self._size_limit = size_limit
        self._kept = kept
        self._wake = asyncio.Event()
        self._wake.set()

    def more(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Write what is new, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.catch_up()
            except (OSError, StoreUnavailable) as error:
                log.warning("audit.file_not_written", file=str(self._path), error=str(error))
                self._wake.set()
                await asyncio.sleep(_AGAIN_S)

    async def finish(self) -> None:
        """The last lines, when the process ends; what cannot be written now is written by the next one."""
        try:
            await self.catch_up()
        except (OSError, StoreUnavailable) as error:
            log.warning("audit.file_not_written", file=str(self._path), error=str(error))

    async def catch_up(self) -> None:
        """Adds every record that the file does not have. Raises OSError, StoreUnavailable."""
        sequence = await asyncio.to_thread(self._last_sequence)
        while True:
            async with self._store.reading() as connection:
                page = await queries.records_after(connection, sequence, _AT_ONCE)
            if not page:
                return
            await asyncio.to_thread(self._append, page)
            sequence = page[-1].link.sequence

    def _last_sequence(self) -> int:
        """Of the last whole line; a line that a crash cut off is taken away, so that it is written again."""
        for path in (self._path, self._older(1)):
            try:
                with path.open("rb+") as file:
                    size = file.seek(0, os.SEEK_END)
                    start = max(0, size - _TAIL)
                    file.seek(start)
                    tail = file.read()
                    whole = tail.rfind(b"\n") + 1
                    if whole < len(tail):
                        file.truncate(start + whole)
            except FileNotFoundError:
                continue
            lines = tail[:whole].splitlines()
            if lines:
                return msgspec.json.decode(lines[-1], type=AuditLine).sequence
        return 0

    def _append(self, records: Sequence[StoredRecord]) -> None:
        lines = [
            msgspec.json.encode(
                AuditLine(one.link.sequence, one.link.hash, msgspec.Raw(one.link.body.encode()))
            )
            for one in records
        ]
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _MODE)
        with os.fdopen(descriptor, "ab") as file:
            file.write(b"\n".join(lines) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if size >= self._size_limit:
            self._rotate()

    def _rotate(self) -> None:
        for number in range(self._kept, 1, -1):
            if self._older(number - 1).exists():
                self._older(number - 1).replace(self._older(number))
        self._path.replace(self._older(1))

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
