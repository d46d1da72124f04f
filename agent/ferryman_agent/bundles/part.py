"""The file that a download grows in, with its digest; what is there is kept for the next try."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from ferryman_agent.files.hashing import blocks, sha256
from ferryman_agent.system import fcntl, fs

_FLAGS = fs.O_RDWR | fs.O_CREAT | fs.O_NOFOLLOW


class Part:
    """Bytes received so far. Blocking, and not for two threads at once."""

    def __init__(self, path: Path, wanted_bytes: int | None = None) -> None:
        """Opens or creates the file with mode 0600 (V2-063). Raises OSError."""
        self.path, self._descriptor = _open_alone(path)
        self._wanted_bytes = wanted_bytes
        self._digest = sha256(wanted_bytes)
        self.size = 0

    def resume(self) -> None:
        """Takes what an earlier try left behind as the beginning. Raises OSError."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._digest = sha256(self._wanted_bytes)
        self.size = 0
        for block in blocks(self._descriptor):
            self._digest.update(block)
            self.size += len(block)

    def restart(self) -> None:
        """Throws away what is there. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._digest = sha256(self._wanted_bytes)
        self.size = 0

    def append(self, chunks: Sequence[bytes]) -> None:
        """Writes and digests. Raises OSError."""
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._descriptor, view) :]
            self._digest.update(chunk)
            self.size += len(chunk)

    def sha256(self) -> str:
        """Returns the digest of all that was received."""
        return self._digest.hexdigest()

    def finish(self, path: Path) -> None:
        """Gives the complete file its name. Raises OSError.

        Not forced to the disk: after a power cut its digest shows what is missing, and it is fetched again.
        """
        self.path.replace(path)

    def discard(self) -> None:
        """Removes the file."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Lets go of the file, which stays."""
        os.close(self._descriptor)


def _open_alone(path: Path) -> tuple[Path, int]:
    try:
        descriptor = fs.open(path, _FLAGS, 0o600)
    except OSError as problem:
        if problem.errno != errno.ELOOP:
            raise
        # A link in its place is not ours, and never written through.
        path.unlink()
        descriptor = fs.open(path, _FLAGS | fs.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Another task fetches the same bundle: both may go on, but not into one file.
        os.close(descriptor)
        path = path.with_name(f"{path.name}-{os.urandom(4).hex()}")
        descriptor = fs.open(path, _FLAGS | fs.O_EXCL, 0o600)
    return path, descriptor
