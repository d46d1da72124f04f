"""What can be known about a script on Windows before it starts; the names of `checks.py`."""

from __future__ import annotations

from pathlib import Path

from ferryman_agent.core.messages import ScriptErrorCode
from ferryman_agent.hooks.environment import Account, Refusal
from ferryman_agent.hooks.windows_command import why_not


def make_executable(path: Path, location: str) -> bool | Refusal:
    """Nothing has to be made so: the end of its name says that a file is executable (AG-535)."""
    return False


def startable(path: Path, location: str, account: Account) -> Refusal | None:
    """Whether Windows will be able to start the script."""
    reason = why_not(str(path), location)
    if not reason:
        return None
    return Refusal(
        error_code=ScriptErrorCode.SCRIPT_NOT_EXECUTABLE,
        detail_code="SCRIPT_NOT_EXECUTABLE",
        message=reason,
    )
