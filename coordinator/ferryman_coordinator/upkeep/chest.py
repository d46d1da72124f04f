"""Where a backup is written to: a folder or a tar file. Each gets its name only when it is whole and on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from ferryman_coordinator.keyfiles import make_folders, sync_folder
from ferryman_coordinator.upkeep.manifest import BUNDLES, MANIFEST, Entry

STEP = 1024 * 1024
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


class Chest(Protocol):
    """Filled piece by piece; `close` makes it a backup, `discard` leaves nothing behind."""

    def add(self, name: str, source: Path, mode: int = 0o600) -> Entry:
        """Copies a file. Raises OSError."""
        ...

    def has_bundle(self, sha256: str, size: int) -> bool:
        """Whether an earlier backup has left it here."""
        ...

    def close(self, manifest: bytes) -> Path:
        """Returns where the backup is. Raises OSError."""
        ...

    def discard(self) -> None: ...


class Folder:
    """`<root>/<name>`, with the bundles of all backups in `<root>/bundles`."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._final = root / name
        self._partial = root / f".{name}.partial"
        self._partial.mkdir(mode=0o700)

    def add(self, name: str, source: Path, mode: int = 0o600) -> Entry:
        is_shared = name.startswith(BUNDLES + "/")
        target = (self._root if is_shared else self._partial) / name
        make_folders(self._root, target.parent)
        temporary = target.with_name(f".{target.name}.new")
        entry = copy(source, temporary, mode)
        if is_shared and entry.sha256 != target.name:
            # For the caller to tell; what is damaged must not get the name of what is whole.
            temporary.unlink()
            return entry
        temporary.replace(target)
        sync_folder(target.parent)
        return entry

    def has_bundle(self, sha256: str, size: int) -> bool:
        try:
            return (self._root / bundle_name(sha256)).stat().st_size == size
        except FileNotFoundError:
            return False

    def close(self, manifest: bytes) -> Path:
        with (self._partial / MANIFEST).open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(manifest)
            file.flush()
            os.fsync(file.fileno())
        for folder, _, _ in os.walk(self._partial):
            sync_folder(Path(folder))
        self._partial.rename(self._final)
        sync_folder(self._root)
        return self._final

    def discard(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


class TarFile:
    """One file with everything."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._partial.unlink(missing_ok=True)
        descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        os.fchmod(descriptor, 0o600)
        mode = "w|" if path.name.endswith(".tar") else "w|gz"
        self._tar = tarfile.open(fileobj=self._file, mode=mode, format=tarfile.PAX_FORMAT)  # type: ignore[call-overload]  # noqa: SIM115 (closed by close and discard)

    def add(self, name: str, source: Path, mode: int = 0o600) -> Entry:
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            counted = _Hashing(file)
            self._tar.addfile(_member(name, size, mode), counted)
        return Entry(sha256=counted.digest.hexdigest(), size=size, mode=mode)

    def has_bundle(self, sha256: str, size: int) -> bool:
        return False

    def close(self, manifest: bytes) -> Path:
        self._tar.addfile(_member(MANIFEST, len(manifest), 0o600), io.BytesIO(manifest))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.rename(self._path)
        sync_folder(self._path.parent)
        return self._path

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            # It writes its end, perhaps to a disk that is full.
            self._tar.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self._partial.unlink(missing_ok=True)


class _Hashing(io.RawIOBase):
    """Reads through, and knows the digest of what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


def copy(source: Path, target: Path, mode: int) -> Entry:
    """Copies to a new file, onto the disk, hashing on the way. Raises OSError."""
    target.unlink(missing_ok=True)
    with source.open("rb") as file:
        return keep(file, target, mode)


def keep(file: IO[bytes], target: Path, mode: int) -> Entry:
    """Writes what `file` holds to a new file, onto the disk. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        while piece := file.read(STEP):
            digest.update(piece)
            size += len(piece)
            written.write(piece)
        os.fchmod(written.fileno(), mode)
        written.flush()
        os.fsync(written.fileno())
    return Entry(sha256=digest.hexdigest(), size=size, mode=mode)


def bundle_name(sha256: str) -> str:
    return f"{BUNDLES}/{sha256[:2]}/{sha256}"


def _member(name: str, size: int, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    return member
