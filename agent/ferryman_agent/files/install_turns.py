"""Whose turn it is to change installed files and their records, among all groups and processes of this machine.

Installs of different groups go side by side. One that takes files from another group, or gives them back, changes that
group's records too, and is alone meanwhile (AG-326).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ferryman_agent.files.atomic import make_directory
from ferryman_agent.files.layout import PRIVATE_MODE, STATE_FILE_MODE, Layout
from ferryman_agent.system import fcntl, fs


@contextlib.contextmanager
def install_turn(layout: Layout, *, alone: bool) -> Iterator[None]:
    """Waits until nobody installs who must not be beside us; blocks. Raises OSError."""
    make_directory(layout.instructions, PRIVATE_MODE)
    flags = fs.O_RDWR | fs.O_CREAT | fs.O_CLOEXEC | fs.O_NOFOLLOW
    descriptor = fs.open(layout.installs_lock, flags, STATE_FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        # The kernel lets go of the lock with the last descriptor, also when the process dies.
        os.close(descriptor)
