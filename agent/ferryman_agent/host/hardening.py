"""What a process that runs as root for weeks does for itself first."""

from __future__ import annotations

import ctypes
import os

import structlog

UMASK = 0o022
_PR_SET_DUMPABLE = 4
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CREDENTIAL_FILE", "AWS_SESSION_TOKEN")

log = structlog.stdlib.get_logger(__name__)


def harden(*, core_dumps: bool) -> None:
    """Sets the umask (V2-255), forgets credentials that are not ours (AG-088), and forbids core dumps (V2-298).

    Core dumps are forbidden for this process alone: a limit would be inherited by the hooks, and by the services that
    they start. A failure is a warning.
    """
    os.umask(UMASK)
    for name in _CREDENTIALS:
        os.environ.pop(name, None)
    if core_dumps:
        return
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            log.warning("core_dumps.not_forbidden", error=os.strerror(ctypes.get_errno()))
    except (OSError, AttributeError) as error:
        log.warning("core_dumps.not_forbidden", error=str(error))
