"""Room on the disk: asked for before it is needed, and recognised when it ran out (AG-215, AG-249, V2-074)."""

from __future__ import annotations

import errno
from pathlib import Path

from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.errors import BundleError
from ferryman_agent.system import fs

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def available(folder: Path) -> int:
    """Returns the bytes that this process may still use on a folder's file system. Raises OSError."""
    status = fs.statvfs(folder)
    return status.f_bavail * status.f_frsize


def require_space(folder: Path, needed: int, limits: BundleLimits, purpose: str) -> None:
    """Raises BundleError with both figures when `needed` bytes do not fit."""
    free = available(folder)
    if needed + limits.disk_reserve_bytes > free:
        raise BundleError(
            "BUNDLE_DISK_FULL",
            f"cannot {purpose}: it needs {needed} bytes (and {limits.disk_reserve_bytes} kept free), "
            f"but the file system of {folder} has only {free}; free some space and deploy again",
        )


def is_disk_full(problem: OSError) -> bool:
    """Says whether an error means that a disk or a quota is full."""
    return problem.errno in _FULL


def disk_full(purpose: str, folder: Path) -> BundleError:
    """Returns the error for a disk that filled up on the way."""
    message = (
        f"cannot {purpose}: the file system of {folder} is or was full ({available(folder)} bytes are free now); "
        "free some space and deploy again"
    )
    return BundleError("BUNDLE_DISK_FULL", message)
