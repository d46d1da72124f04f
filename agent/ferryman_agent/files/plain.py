"""Opens a file that another user may have put something else in the place of: a pipe would keep its reader waiting."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ferryman_agent.system import fs


def open_plain(path: Path) -> int:
    """Returns a descriptor to read from. Raises OSError, also where something else than a file is there."""
    descriptor = fs.open(path, fs.O_RDONLY | fs.O_CLOEXEC | fs.O_NONBLOCK)
    if stat.S_ISREG(fs.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no file", str(path))
