"""What a process that runs as root for weeks does for itself first."""

from __future__ import annotations

import os

import structlog

from ferryman_agent.system import own

UMASK = 0o022
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
    if problem := own.forbid_core_dumps():
        log.warning("core_dumps.not_forbidden", error=problem)
