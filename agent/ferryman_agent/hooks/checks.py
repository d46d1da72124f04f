"""What can be known about a script before it starts, so that each mistake is reported as exactly that.

Blocking calls on the file system: run them in a thread. Every answer is None when all is well.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from pathlib import Path

from ferryman_agent.core.messages import ScriptErrorCode
from ferryman_agent.hooks.environment import Account, Refusal
from ferryman_agent.system import fs, own

_LONGEST_FIRST_LINE = 256  # what Linux itself reads of it


def script_path(archive: Path, location: str) -> Path:
    """Where a script is: leading separators mean the root of the revision (V2-246)."""
    return archive / own.slashes(location).lstrip("/")


def presence(archive: Path, location: str) -> Refusal | None:
    """Whether the script is a file inside the revision.

    What leads outside is refused without a look at it, so that the answer tells nothing about the rest of the machine.
    """
    path = script_path(archive, location)
    inside = posixpath.normpath(own.slashes(location).lstrip("/"))
    is_outside = inside.startswith("../") or inside in ("..", ".")
    if is_outside or not _is_below(_real_path(path), _real_path(archive)):
        return Refusal(
            error_code=ScriptErrorCode.SCRIPT_MISSING,
            detail_code="SCRIPT_LOCATION_ESCAPES",
            message=f"the location {location!r} leaves the revision in {archive}: only scripts of the bundle can run",
        )
    if path.is_dir():
        return Refusal(
            error_code=ScriptErrorCode.SCRIPT_NOT_EXECUTABLE,
            detail_code="SCRIPT_IS_DIRECTORY",
            message=f"{location} is a directory ({path}), not a script",
        )
    if not path.exists():
        return Refusal(
            error_code=ScriptErrorCode.SCRIPT_MISSING,
            detail_code="SCRIPT_MISSING",
            message=f"{location} does not exist: there is no file {path} in the revision",
        )
    return None


def make_executable(path: Path, location: str) -> bool | Refusal:
    """Give the script its execute bits where one is missing (AG-373, V2-245); True when something was changed."""
    mode = path.stat().st_mode
    if mode & 0o111:
        return False
    try:
        path.chmod(stat.S_IMODE(mode) | 0o111)
    except OSError as error:
        return Refusal(
            error_code=ScriptErrorCode.SCRIPT_NOT_EXECUTABLE,
            detail_code="SCRIPT_NOT_EXECUTABLE",
            message=f"{location} is not executable, and {path} cannot be made so: {error.strerror}",
        )
    return True


def startable(path: Path, location: str, account: Account) -> Refusal | None:
    """Whether the system will be able to start the script as `account` (AG-376, AG-398)."""
    if fs.statvfs(path).f_flag & fs.ST_NOEXEC:
        return _not_started(
            "SCRIPT_NOEXEC_MOUNT",
            f"{location} is on a file system mounted with 'noexec' ({path}): mount it without, or move root_dir",
        )
    if closed := _closed_to(path, account):
        return _not_started(
            "SCRIPT_PATH_CLOSED",
            f"{location} cannot be reached as user {account.name}: {closed}",
        )
    return _first_line(path, location)


def why_not_started(path: Path, location: str, error: OSError) -> Refusal:
    """What the system's refusal to start the script means."""
    reasons = {
        errno.ENOEXEC: "it is a program for another kind of machine",
        errno.E2BIG: "its environment is larger than the system allows",
        errno.ETXTBSY: "something still writes to it",
        errno.ENOENT: "the file or its interpreter does not exist",
    }
    reason = reasons.get(error.errno or 0, "the system refused")
    return _not_started(
        "SCRIPT_NOT_STARTED", f"{location} ({path}) could not be started: {reason} ({error.strerror})"
    )


def hint(code: int | None) -> str:
    """What the exit statuses that shells use for their own say (AG-423)."""
    return {
        126: ": a command in it was found but could not be executed; has it execute permission?",
        127: ": a command in it was not found; is it installed, and in the PATH of hooks?",
    }.get(code or 0, "")


def _real_path(path: Path) -> str:
    """`os.path.realpath`, by two calls where the kernel tells it, instead of one for each folder on the way."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, AttributeError):
        return os.path.realpath(path)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return os.path.realpath(path)
    finally:
        os.close(descriptor)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip(os.sep)}{os.sep}")


def _first_line(path: Path, location: str) -> Refusal | None:
    with path.open("rb") as file:
        head = file.read(_LONGEST_FIRST_LINE)
    if not head.startswith(b"#!"):
        return None
    line = head[2:].partition(b"\n")[0]
    if line.endswith(b"\r"):
        return _not_started(
            "SCRIPT_CARRIAGE_RETURN",
            f"the first line of {location} ends in a carriage return (Windows line ends): no interpreter has that name."
            " Save the file with Unix line ends",
        )
    interpreter = os.fsdecode(line.strip(b" \t").split(None, 1)[0] if line.strip(b" \t") else b"")
    if interpreter.startswith("/") and not os.path.exists(interpreter):
        return _not_started(
            "SCRIPT_INTERPRETER_MISSING",
            f"the interpreter of {location} does not exist: its first line names {interpreter}",
        )
    return None


def _closed_to(path: Path, account: Account) -> str | None:
    """Which component of the path the account cannot pass, and why.

    Looks at mode bits; a component with an access control list may allow more than they say and is left to the system.
    """
    if account.uid == 0 or not account.is_switch:
        return None
    for component in [*reversed(path.parents), path]:
        found = component.stat()
        needed = stat.S_IXOTH if stat.S_ISDIR(found.st_mode) else stat.S_IXOTH | stat.S_IROTH
        if not _allows(found, account, needed) and not _has_acl(component):
            what = "directory" if stat.S_ISDIR(found.st_mode) else "file"
            return (
                f"the {what} {component} is closed to it"
                f" (mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}, group {found.st_gid})"
            )
    return None


def _allows(found: os.stat_result, account: Account, needed: int) -> bool:
    if found.st_uid == account.uid:
        needed <<= 6
    elif found.st_gid == account.gid or found.st_gid in account.groups:
        needed <<= 3
    return found.st_mode & needed == needed


def _has_acl(path: Path) -> bool:
    try:
        return bool(fs.getxattr(path, "system.posix_acl_access"))
    except OSError:
        return False


def _not_started(detail_code: str, message: str) -> Refusal:
    # AG-422: what cannot be spawned is code 4; code 2 is for what has no execute permission and cannot get it.
    return Refusal(error_code=ScriptErrorCode.SCRIPT_FAILED, detail_code=detail_code, message=message)
