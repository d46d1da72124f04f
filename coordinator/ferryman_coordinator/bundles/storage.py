"""Bundle files: `<folder>/<2 digits>/<sha256>`, complete and verified or not there at all.

Content goes to a temporary file in steps of a mebibyte, hashed on the way, each step in a thread; only when size and
digest are right does it get its name. So nothing is ever held in memory, and a crash leaves only what the next start
sweeps away.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import sqlalchemy as sa
import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.inventory import StoredBundle
from ferryman_coordinator.core.model import BundleType
from ferryman_coordinator.errors import Invalid, LimitExceeded
from ferryman_coordinator.keyfiles import make_private_folder, sync_folder
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store
from ferryman_coordinator.store.tables import bundles

log = structlog.get_logger(__name__)

_Result = TypeVar("_Result")

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STEP = 1024 * 1024
_RESERVE = 64 * 1024 * 1024
"""Left free for the database, which shares the disk."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadHeader:
    """What an uploader says before the content."""

    sha256: str
    size_bytes: int
    bundle_type: BundleType


def check_digest(sha256: str) -> str:
    """Returns it when it is 64 lower-case hexadecimal digits, so that it can stand in a path. Raises Invalid."""
    if not _DIGEST.fullmatch(sha256):
        raise Invalid(
            "InvalidDigest", f"{sha256[:80]!r} is no SHA-256: write 64 lower-case hexadecimal digits"
        )
    return sha256


class BundleStorage:
    """The files in one folder, and the table that knows their kind."""

    def __init__(self, folder: Path, store: Store, clock: Clock, size_limit: int) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._store = store
        self._clock = clock
        self._size_limit = size_limit

    def prepare(self) -> None:
        """Makes the folders and removes what unfinished uploads left, but not what another coordinator receives now.

        Raises SetupError.
        """
        make_private_folder(self._folder)
        make_private_folder(self._incoming)
        removed = sum(_remove_unless_held(leftover) for leftover in list(self._incoming.iterdir()))
        if removed:
            log.info("bundles.leftovers_removed", count=removed)

    def path(self, sha256: str) -> Path:
        """Where that bundle is or would be. Raises Invalid for what is no digest."""
        check_digest(sha256)
        return self._folder / sha256[:2] / sha256

    async def find(self, sha256: str) -> StoredBundle | None:
        """The stored bundle; None when it, or its file, is not there. Raises Invalid for what is no digest."""
        path = self.path(sha256)
        async with self._store.reading() as connection:
            row = (
                await connection.execute(sa.select(bundles).where(bundles.c.sha256 == sha256))
            ).one_or_none()
        if row is None or await _in_thread(_size, path) != row.size_bytes:
            return None
        return StoredBundle(
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            bundle_type=BundleType(row.bundle_type),
            stored_at=row.stored_at,
        )

    async def receive(self, header: UploadHeader, chunks: AsyncIterator[bytes]) -> StoredBundle:
        """Takes a bundle in, unless it is known: then the content is not even read.

        Several uploads of one digest may run at the same time. Raises Invalid (`InvalidDigest`, `SizeMismatch`,
        `DigestMismatch`) and LimitExceeded (`BundleTooLarge`, `DiskFull`); then nothing is left behind.
        """
        self._check(header)
        known = await self.find(header.sha256)
        if known is not None:
            return known
        temporary = self._incoming / f"{header.sha256}.{secrets.token_hex(8)}"
        try:
            await self._write(temporary, header, chunks)
            await _in_thread(_publish, temporary, self.path(header.sha256))
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise _disk_full(header) from error
            raise
        finally:
            # Not in a thread: it must happen even when this task is cancelled.
            temporary.unlink(missing_ok=True)
        return await self._remember(header)

    def _check(self, header: UploadHeader) -> None:
        check_digest(header.sha256)
        if header.size_bytes <= 0:
            raise Invalid("SizeMismatch", f"cannot take bundle {header.sha256[:12]}: its announced size is 0")
        if header.size_bytes > self._size_limit:
            raise LimitExceeded(
                "BundleTooLarge",
                f"cannot take bundle {header.sha256[:12]}: it has {header.size_bytes} bytes, the limit is"
                f" {self._size_limit} (setting bundles.size_limit)",
            )
        if shutil.disk_usage(self._incoming).free < header.size_bytes + _RESERVE:
            raise _disk_full(header)

    async def _write(self, path: Path, header: UploadHeader, chunks: AsyncIterator[bytes]) -> None:
        digest = hashlib.sha256()
        received = 0
        with await _in_thread(_create, path) as file:
            async for step in _steps(chunks):
                received += len(step)
                if received > header.size_bytes:
                    raise Invalid(
                        "SizeMismatch",
                        f"cannot take bundle {header.sha256[:12]}: more than the announced {header.size_bytes} bytes"
                        " arrived",
                    )
                await _in_thread(_append, file, digest, step)
            if received < header.size_bytes:
                raise Invalid(
                    "SizeMismatch",
                    f"cannot take bundle {header.sha256[:12]}: cut short, {received} of {header.size_bytes} bytes"
                    " arrived",
                )
            if digest.hexdigest() != header.sha256:
                raise Invalid(
                    "DigestMismatch",
                    f"cannot take bundle {header.sha256[:12]}: what arrived has the digest {digest.hexdigest()}",
                )
            await _in_thread(_finish, file)

    async def _remember(self, header: UploadHeader) -> StoredBundle:
        stored = StoredBundle(
            sha256=header.sha256,
            size_bytes=header.size_bytes,
            bundle_type=header.bundle_type,
            stored_at=self._clock.now(),
        )
        batch = Batch()
        batch.put(
            bundles,
            {
                "sha256": stored.sha256,
                "size_bytes": stored.size_bytes,
                "bundle_type": stored.bundle_type.value,
                "stored_at": stored.stored_at,
            },
        )
        await self._store.write(batch)
        log.info("bundle.stored", sha256=stored.sha256, size_bytes=stored.size_bytes)
        return stored


async def _in_thread(function: Callable[..., _Result], *arguments: object) -> _Result:
    """Like `asyncio.to_thread`, but a cancelled caller waits: it must not close a file that the thread writes to."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


async def _steps(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Gathers small chunks, so that there is not a thread's turn for each of them."""
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        if len(gathered) >= _STEP:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def _create(path: Path) -> BinaryIO:
    """The lock says that the upload goes on; the system drops it with the process."""
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _remove_unless_held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def _append(file: BinaryIO, digest: hashlib._Hash, step: bytes) -> None:
    digest.update(step)
    rest = memoryview(step)
    while rest:
        # Without a buffer a write may take only a part, on a disk that is nearly full for example.
        rest = rest[file.write(rest) :]


def _finish(file: BinaryIO) -> None:
    os.fsync(file.fileno())


def _publish(temporary: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary.replace(path)
    sync_folder(path.parent)
    sync_folder(path.parent.parent)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _disk_full(header: UploadHeader) -> LimitExceeded:
    return LimitExceeded(
        "DiskFull",
        f"cannot take bundle {header.sha256[:12]}: the coordinator's disk has no room for {header.size_bytes} bytes;"
        " free some, or move the data directory",
    )
