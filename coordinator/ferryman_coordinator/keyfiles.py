"""Keys and tokens on disk: written whole or not at all, with their final mode from the first byte on."""

from __future__ import annotations

import os
from pathlib import Path

from ferryman_coordinator.errors import SetupError

SECRET = 0o600
READABLE = 0o644


def make_private_folder(path: Path) -> None:
    """Makes a folder that only its owner can enter; tightens one that is there. Raises SetupError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise SetupError(
            f"cannot use the directory {path}: {error.strerror}; choose another or give it to this user"
        ) from error


def make_folders(root: Path, below: Path) -> None:
    """Makes `below` and all between it and `root`, which is there, for their owner alone. Raises OSError."""
    for folder in reversed((below, *below.parents)):
        if root in folder.parents:
            folder.mkdir(mode=0o700, exist_ok=True)


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Writes a file so that after a crash it has the old content or the new one. Raises SetupError."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            # The umask may have taken more away than meant.
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}") from error


def read_file(path: Path) -> bytes | None:
    """The content, None when there is no such file. Raises SetupError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}") from error


def sync_folder(path: Path) -> None:
    """Makes a rename in this folder survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
