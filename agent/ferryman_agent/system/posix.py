"""What a POSIX system has no common name for: places, signals of a loop, and what the kernel does for a process."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

HOST_OS = "linux"
"""As AppSpec files have it."""
ONLY_ZIP = False
HAS_POSIX_TOOLS = True
"""Scripts are started with the help of util-linux and control groups."""
TRUSTS_LINKS = True
"""A link on the way to a directory of ours is as good as its owner."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG_FILES = (
    Path("/etc/ferryman-agent/conf/ferrymanagent.yml"),
    Path("/opt/ferryman-agent/conf/ferrymanagent.yml"),
)
IDENTITY_NAME = "ferryman.onpremises.yml"
ORIGINALS_CONFIG = Path("/etc/codedeploy-agent/conf/codedeployagent.yml")
ORIGINALS_IDENTITY = Path("/etc/codedeploy-agent/conf/codedeploy.onpremises.yml")
DIRECTORIES: Mapping[str, str] = {
    "root_dir": "/opt/codedeploy-agent/deployment-root",
    "log_dir": "/var/log/aws/codedeploy-agent",
    "pid_dir": "/opt/codedeploy-agent/state/.pid",
    "state_dir": "/var/lib/ferryman-agent",
}

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_NICE = 10
_IDLE = 3 << 13
_THIS_THREAD = 1
# Numbers of ioprio_set: the C library has no function for it.
_IOPRIO_SET = {
    "x86_64": 251,
    "aarch64": 30,
    "riscv64": 30,
    "loongarch64": 30,
    "ppc64le": 273,
    "s390x": 282,
    "armv7l": 314,
    "i686": 289,
}


def version_files(root: Path, prefix: Path = Path("/opt/codedeploy-agent")) -> tuple[Path, ...]:
    """Where `.version` is looked for, the first one first (AG-030)."""
    return (root.parent / ".version", prefix / ".version")


def log_name(program_name: str) -> str:
    """The file name of the agent's log."""
    return f"{program_name}.log"


def host_place(path: str) -> str:
    """A path of this system as plans and journals have it."""
    return path


def local_path(place: str) -> str:
    """Undoes `host_place`."""
    return place


def slashes(path: str) -> str:
    """A path of an AppSpec file with `/` between names."""
    return path


def joined(folder: str, path: str) -> str:
    """A path that somebody wrote, who is in this folder."""
    return path if path.startswith("/") else f"{folder.rstrip('/')}/{path}"


def refer(place: Path, to: Path) -> None:
    """Makes `place` another name for a file, however large. Raises OSError."""
    place.symlink_to(to)


def protect(folder: Path, mode: int) -> None:
    """Gives a folder of the agent its mode. Raises OSError."""
    folder.chmod(mode)


def restrict(folder: Path, mode: int) -> None:
    """Takes away what `mode` does not grant; a stricter choice of the operator stays (V2-281). Raises OSError."""
    current = folder.stat().st_mode & 0o7777
    if current & ~mode:
        folder.chmod(current & mode)


@functools.cache
def c_library() -> Any:
    """The C library that this process runs on, once: each is a class of its own. Raises OSError where there is none."""
    import ctypes  # few commands of the agent need it

    return ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def readable(content: bytes) -> Iterator[str]:
    """Yields the path of a file of this content, which is in memory: a full disk is no hurdle, and nothing is left."""
    descriptor = os.memfd_create("secret", os.MFD_CLOEXEC)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def begin_again(*options: str) -> None:
    """Has this process run its program from the start, with more options of Python. Returns only if that failed."""
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


def forbid_core_dumps() -> str:
    """Forbids them for this process alone; returns why they could not be."""
    try:
        if c_library().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            import ctypes

            return os.strerror(ctypes.get_errno())
    except (OSError, AttributeError) as error:
        return str(error)
    return ""


def end_with_parent() -> None:
    """Asks the kernel to end this process with its parent."""
    with contextlib.suppress(OSError, AttributeError):
        c_library().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def step_back() -> None:
    """Gives this thread the lowest rank. Linux knows ranks of single threads; elsewhere the pace has to do."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        # Refused in some sandboxes: then it reads at the common rank.
        c_library().syscall(number, _THIS_THREAD, 0, _IDLE)


def add_signal_handler(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, call: Callable[..., object], *arguments: object
) -> None:
    """Has `call` called on the loop whenever the signal comes."""
    loop.add_signal_handler(number, call, *arguments)


def remove_signal_handler(loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
    """Undoes `add_signal_handler`."""
    loop.remove_signal_handler(number)


def script_variables(account: tuple[str, str, str]) -> dict[str, str]:
    """The environment of a script before anything of its deployment is in it: name, home and shell of its user."""
    name, home, shell = account
    path = os.environ.get("PATH") or DEFAULT_PATH
    return {"PATH": path, "HOME": home, "USER": name, "LOGNAME": name, "SHELL": shell}


def kernel() -> tuple[str, str, str, str]:
    """Name of this host, of its system, the kernel's version, the processor's kind."""
    found = os.uname()
    return found.nodename, found.sysname.lower(), found.release, found.machine


def release() -> tuple[str, str]:
    """What the distribution calls itself, and its version; empty text where it does not say."""
    import platform

    try:
        found = platform.freedesktop_os_release()
    except OSError:
        return "", ""
    return found.get("ID", ""), found.get("VERSION_ID", "")


def disk_bytes(found: os.stat_result) -> int:
    """What a file takes on the disk."""
    return found.st_blocks * 512


def memory_bytes() -> int:
    """The memory of this host, 0 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0
