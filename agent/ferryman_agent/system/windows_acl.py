"""Access lists of the agent's own folders on Windows: SYSTEM and Administrators, and nobody by inheritance (V2-285).

By `SetNamedSecurityInfoW` through ctypes. `icacls` would take a process for each folder, knows the groups by names
that differ with the system's language unless numbers are given, and tells what went wrong in a sentence of that
language. The list is written as SDDL, which can be planned and read anywhere.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from ferryman_agent.system import windows_calls as calls

_FILE_OBJECT = 1
_DACL, _PROTECTED_DACL = 0x00000004, 0x80000000
_SDDL_REVISION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """Lets a well-known group do everything; `is_inherited`: in what is made below, too. `sid` is SDDL's short name."""

    sid: str
    is_inherited: bool = True

    def __str__(self) -> str:
        return f"(A;{'OICI' if self.is_inherited else ''};FA;;;{self.sid})"


SYSTEM, ADMINISTRATORS = "SY", "BA"


def plan(*, is_folder: bool) -> str:
    """Returns the whole list as SDDL: `P` keeps out what the folder above would hand down."""
    entries = (Entry(SYSTEM, is_folder), Entry(ADMINISTRATORS, is_folder))
    return "D:P" + "".join(str(entry) for entry in entries)


def protect(path: str, *, is_folder: bool = True) -> None:
    """Gives a folder or file of ours this list, in place of whatever it has. Raises OSError."""
    security, descriptor = calls.library("advapi32"), ctypes.c_void_p()
    if not security.ConvertStringSecurityDescriptorToSecurityDescriptorW(
        ctypes.c_wchar_p(plan(is_folder=is_folder)), _SDDL_REVISION, ctypes.byref(descriptor), None
    ):
        raise calls.failure(path)
    try:
        present, defaulted, acl = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
        security.GetSecurityDescriptorDacl(
            descriptor, ctypes.byref(present), ctypes.byref(acl), ctypes.byref(defaulted)
        )
        number = security.SetNamedSecurityInfoW(
            ctypes.c_wchar_p(path), _FILE_OBJECT, _DACL | _PROTECTED_DACL, None, None, acl, None
        )
    finally:
        calls.library("kernel32").LocalFree(descriptor)
    if number:
        raise calls.failure(path, number)
