"""What a process that holds the key of the certificate authority does for itself first."""

from __future__ import annotations

import ctypes
import os
import resource

import structlog

_PR_SET_DUMPABLE = 4

log = structlog.get_logger(__name__)


def harden() -> None:
    """Makes files private, forbids core dumps, which would hold the keys, and allows as many open files as it may.

    Each agent and each caller is an open file: with the usual 1,024 a few hundred agents, or one stranger with as many
    connections, would be all there can be. What the system refuses is a warning.
    """
    os.umask(0o077)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError) as error:
        log.warning("process.limits_not_set", error=str(error))
    try:
        # Also against a kernel that hands dumps to a program, whatever their limit.
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            log.warning("core_dumps.not_forbidden", error=os.strerror(ctypes.get_errno()))
    except (OSError, AttributeError) as error:
        log.warning("core_dumps.not_forbidden", error=str(error))
