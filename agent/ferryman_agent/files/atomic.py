"""Folders and files with exact modes, and writes that are there wholly or not at all (V2-280, V2-282, V2-283)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ferryman_agent.system import fs, own

TEMPORARY_PREFIX = ".ferryman-tmp-"


def make_directory(path: Path, mode: int) -> None:
    """Creates a folder and its missing parents, each with exactly `mode`, whatever the umask is.

    Folders that exist are left alone. Raises OSError; NotADirectoryError where something else is in the place.
    """
    if path.is_dir():
        return
    missing = []
    current = path
    while not current.is_dir():
        missing.append(current)
        if current.parent == current:
            break
        current = current.parent
    for folder in reversed(missing):
        # Somebody else making it at the same moment is as good.
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
            own.protect(folder, mode)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder")


def write_atomic(path: Path, content: bytes, mode: int = 0o600, *, sync_folder: bool = True) -> None:
    """Replaces a file: temporary sibling, mode, data on disk, rename, folder on disk (AG-153). Raises OSError.

    `sync_folder` is False where more is about to be written in the same folder.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}")
    flags = fs.O_WRONLY | fs.O_CREAT | fs.O_EXCL | fs.O_NOFOLLOW
    descriptor = fs.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # By descriptor: the folder may be somebody else's, who could have put a link under the name.
            fs.fchmod(file.fileno(), mode)
            fs.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync_folder:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes renames and deletions in a folder survive a power cut. Raises OSError."""
    descriptor = fs.open(path, fs.O_RDONLY | fs.O_DIRECTORY)
    try:
        fs.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files that a killed process left in a folder of ours."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):
            path.unlink()
