"""`flock` on Windows: a byte far behind the end of the file is locked, so that everybody can still read the file."""

from __future__ import annotations

import ctypes
import errno

from ferryman_agent.system import windows_calls as calls

LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8

_FAIL_IMMEDIATELY, _EXCLUSIVE = 1, 2
_LOCK_VIOLATION, _IO_PENDING = 33, 997
_FAR = 0x7FFFFFFF


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", ctypes.c_uint32),
        ("offset_high", ctypes.c_uint32),
        ("event", ctypes.c_void_p),
    )


def flock(descriptor: int, operation: int) -> None:
    """See fcntl.flock; the system lets go of the lock when the process ends. Raises BlockingIOError, OSError."""
    kernel, handle = calls.library("kernel32"), calls.handle_of(descriptor)
    where = _Overlapped(offset=_FAR, offset_high=_FAR)
    # One that is held is given up first: Windows would not change its kind.
    kernel.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(where))
    if operation & LOCK_UN:
        return
    flags = (_FAIL_IMMEDIATELY if operation & LOCK_NB else 0) | (_EXCLUSIVE if operation & LOCK_EX else 0)
    if kernel.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(where)):
        return
    if calls.last_error() in (_LOCK_VIOLATION, _IO_PENDING):
        raise BlockingIOError(errno.EWOULDBLOCK, "another process holds the lock")
    raise calls.failure()
