"""The calls of Windows that the standard library has on Windows only, where any other module takes them from."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module
from typing import Any

_ctypes: Any = ctypes
INVALID_HANDLE = ctypes.c_void_p(-1).value


@cache
def library(name: str) -> Any:
    """A library of the system, such as `kernel32`. Functions without `argtypes` take numbers of 32 bits only."""
    return _ctypes.WinDLL(name, use_last_error=True)


def failure(path: str | None = None, number: int | None = None) -> OSError:
    """The error of the last call, or that of this number; with the errno that Python has for it."""
    found = _ctypes.get_last_error() if number is None else number
    return OSError(0, _ctypes.FormatError(found).strip(), path, found)


def last_error() -> int:
    """The number of the last call's error."""
    return int(_ctypes.get_last_error())


def handle_of(descriptor: int) -> ctypes.c_void_p:
    """The system's handle behind a descriptor. Raises OSError."""
    return ctypes.c_void_p(_runtime().get_osfhandle(descriptor))


def descriptor_of(handle: int, flags: int) -> int:
    """A descriptor for a handle, which it takes over. Raises OSError."""
    return int(_runtime().open_osfhandle(handle, flags))


def _runtime() -> Any:
    return import_module("msvcrt")
