"""One process at a time on one SQLite data directory (CP-427).

The lock is the operating system's: it goes away with its process, however that ends. The file stays, and names the
last holder.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ferryman_coordinator.errors import SetupError


class DirectoryLock:
    """Held from `take` until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> None:
        """Raises SetupError when another process holds it, or when the directory cannot be written."""
        directory = self._path.parent
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(
                f"cannot write in the data directory {directory}: {error.strerror}; "
                "give this user write permission, or choose another with --data-dir"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip()
            os.close(file)
            by = f"process {holder}" if holder.isdigit() else "another process"
            raise SetupError(
                f"the data directory {directory} is in use by {by}: stop that coordinator first, "
                "or give this one a --data-dir of its own"
            ) from error
        except OSError as error:
            os.close(file)
            raise SetupError(f"cannot lock the data directory {directory}: {error.strerror}") from error
        self._file = file

    def release(self) -> None:
        """Let others in; does nothing when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
