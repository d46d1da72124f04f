"""What Windows has no POSIX name for: places, what can be heard of signals, and facts. The pair of `posix.py`."""

from __future__ import annotations

import contextlib
import ctypes
import ntpath
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferryman_agent.system import windows_acl, windows_names, windows_places
from ferryman_agent.system import windows_calls as calls
from ferryman_agent.system.windows_signal import Signals
from ferryman_agent.system.windows_variables import base_variables

if TYPE_CHECKING:
    import asyncio

HOST_OS = "windows"
ONLY_ZIP = True
"""As with the original (AG-534)."""
HAS_POSIX_TOOLS = False
TRUSTS_LINKS = False
"""Who made a junction is not told, and its target is whose it may be (AG-532)."""
_PLACES = windows_places.places(os.environ)
CONFIG_FILES = tuple(Path(each) for each in _PLACES.config_files)
IDENTITY_NAME = windows_places.IDENTITY_NAME
ORIGINALS_CONFIG = Path(_PLACES.originals_config)
ORIGINALS_IDENTITY = Path(_PLACES.originals_identity)
DIRECTORIES: Mapping[str, str] = _PLACES.directories

# Console events that Windows tells a process; a service hears from its control handler instead.
_HEARD = {
    Signals.SIGINT: signal.SIGINT,
    Signals.SIGTERM: getattr(signal, "SIGBREAK", signal.SIGTERM),
}
_handlers: dict[int, Callable[[], object]] = {}
_NO_BOXES = 0x0001 | 0x0002 | 0x8000  # critical errors, faults, files that cannot be opened
_BACKGROUND = 0x00010000


class _MemoryStatus(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total_physical", ctypes.c_uint64),
        ("available_physical", ctypes.c_uint64),
        ("total_page_file", ctypes.c_uint64),
        ("available_page_file", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended", ctypes.c_uint64),
    )


def version_files(root: Path) -> tuple[Path, ...]:
    """Where `.version` is looked for (AG-532)."""
    return (root / ".version",)


def log_name(program_name: str) -> str:
    """The file name of the agent's log, whatever the program's name (AG-532)."""
    return "codedeploy-agent-log.txt"


def host_place(path: str) -> str:
    r"""`C:\web` as plans and journals have it: `/C:/web`."""
    return windows_names.host_place(path)


def local_path(place: str) -> str:
    """Undoes `host_place`."""
    return windows_names.shown(place)


def slashes(path: str) -> str:
    """A path of an AppSpec file with `/` between names (AG-540)."""
    return path.replace("\\", "/")


def joined(folder: str, path: str) -> str:
    """A path that somebody wrote, who is in this folder."""
    return ntpath.join(folder, path)


def refer(place: Path, to: Path) -> None:
    """Makes `place` another name for a file: a hard link, or a copy where it is on another volume. Raises OSError.

    No symbolic link: to make one takes a right that not even every administrator has.
    """
    try:
        os.link(to, place)
    except OSError:
        shutil.copyfile(to, place)


def protect(folder: Path, mode: int) -> None:
    """Closes a folder of the agent to all but SYSTEM and Administrators, whatever its mode is elsewhere (V2-285).

    Users may make folders below `%ProgramData%`, and what they make is theirs: a script in there would run as
    LocalSystem. Raises OSError.
    """
    windows_acl.protect(windows_names.native(str(folder)))


def restrict(folder: Path, mode: int) -> None:
    """Closes a private folder that is there already. Raises OSError."""
    protect(folder, mode)


def c_library() -> Any:
    """Raises OSError: what the agent asks of a C library, that of Windows does not have."""
    raise OSError("Windows has another C library")


@contextlib.contextmanager
def readable(content: bytes) -> Iterator[str]:
    """Yields the path of a file of this content, in a folder that is closed to others and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ferryman-"))
    try:
        protect(folder, 0o700)
        (folder / "secret").write_bytes(content)
        yield str(folder / "secret")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def begin_again(*options: str) -> None:
    """Nothing: what Windows has for this is another process, and whoever waits for this one would see it end."""


def forbid_core_dumps() -> str:
    """Faults are neither shown in boxes nor dumped (V2-298)."""
    _kernel().SetErrorMode(_NO_BOXES)
    return ""


def end_with_parent() -> None:
    """Does nothing: the end of the pipe to the parent ends a child."""


def step_back() -> None:
    """Gives this thread the lowest rank, for the processor and the disks."""
    library = _kernel()
    library.SetThreadPriority(library.GetCurrentThread(), _BACKGROUND)


def add_signal_handler(
    loop: asyncio.AbstractEventLoop, number: int, call: Callable[..., object], *arguments: object
) -> None:
    """Has `call` called on the loop whenever the signal is delivered: by `deliver`, Ctrl-C or Ctrl-Break (SIGTERM)."""
    _handlers[number] = lambda: loop.call_soon_threadsafe(lambda: call(*arguments))
    # Python tells a process's main thread only; a service's agent is in another one.
    if number in _HEARD and threading.current_thread() is threading.main_thread():
        signal.signal(_HEARD[Signals(number)], lambda *_: deliver(number))


def remove_signal_handler(loop: asyncio.AbstractEventLoop, number: int) -> None:
    """Undoes `add_signal_handler`."""
    _handlers.pop(number, None)
    if number in _HEARD and threading.current_thread() is threading.main_thread():
        signal.signal(_HEARD[Signals(number)], signal.SIG_DFL)


def deliver(number: int) -> None:
    """Lets this process hear a signal, from any thread: Windows has none to send to a service."""
    if handler := _handlers.get(number):
        # A loop that is closed has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            handler()


def script_variables(account: tuple[str, str, str]) -> dict[str, str]:
    """The environment of a script before anything of its deployment is in it; of the account nothing is."""
    return base_variables(os.environ)


def kernel() -> tuple[str, str, str, str]:
    """Name of this host, of its system, the kernel's version, the processor's kind."""
    # Not by `platform`, which asks WMI: that may take seconds, and is not there everywhere.
    return socket.gethostname(), "windows", _version(), os.environ.get("PROCESSOR_ARCHITECTURE", "").lower()


def release() -> tuple[str, str]:
    """What the system calls itself, and its version, such as `10.0.20348`."""
    return "windows", _version()


def memory_bytes() -> int:
    """The memory of this host, 0 where it does not say."""
    found = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    return int(found.total_physical) if _kernel().GlobalMemoryStatusEx(ctypes.byref(found)) else 0


def disk_bytes(found: os.stat_result) -> int:
    """What a file takes on the disk, as far as its status tells."""
    return found.st_size


def _version() -> str:
    found: Any = vars(sys)["getwindowsversion"]()
    return f"{found.major}.{found.minor}.{found.build}"


def _kernel() -> Any:
    return calls.library("kernel32")
