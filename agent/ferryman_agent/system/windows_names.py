r"""Names and paths of Windows, as text: what a name may be, and where the paths of plans and journals lead. Pure.

Plans, journals and manifests have `/` between names on every system. A place of the host is `/C:/web/index.html` in
them: `/` is the machine, and drives are in it. The system gets `\\?\C:\web\index.html`, which has no limit of 260
characters (AG-539) and no names that mean devices.
"""

from __future__ import annotations

import errno
import re

LONG = "\\\\?\\"
_LONG_SHARE = "\\\\?\\UNC\\"
_DRIVE = re.compile(r"[A-Za-z]:")
_HOST_PLACE = re.compile(r"/[A-Za-z]:(/|$)")
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[0-9¹²³]|LPT[0-9¹²³])(\..*)?", re.IGNORECASE)


def checked(name: str) -> str:
    """Returns one component of a path. Raises OSError (EINVAL) for what is none, or leads elsewhere, on Windows.

    A colon would open another stream of a file, a device's name the device; of final dots and blanks programs that do
    not ask for them lose sight, so that the file would be there and nobody could open it.
    """
    if _FORBIDDEN.search(name) or name != name.rstrip(" .") or _DEVICE.fullmatch(name) or not name:
        raise OSError(errno.EINVAL, "Windows has no files of that name", name)
    return name


def is_machine(path: str) -> bool:
    """Says whether a path is `/`, in which the drives are."""
    return path.strip("/\\") == "" and path != ""


def drive(name: str) -> str:
    """Returns the root folder of the drive `C:`. Raises OSError (ENOENT) for what is no drive's name."""
    if not _DRIVE.fullmatch(name):
        raise FileNotFoundError(errno.ENOENT, "there is no drive of that name", name)
    return f"{LONG}{name.upper()}\\"


def native(path: str) -> str:
    """Returns a path as the system gets it: a host place, or a path of Windows, absolute or not.

    Relative paths are left alone.
    """
    if path.startswith(LONG):
        return path
    if _HOST_PLACE.match(path):
        path = path[1:]
    path = path.replace("/", "\\")
    if path.startswith("\\\\"):
        return _LONG_SHARE + _folded(path[2:])
    if _DRIVE.match(path) and path[2:3] == "\\":
        return f"{LONG}{path[0].upper()}:\\{_folded(path[3:])}"
    if _DRIVE.fullmatch(path):
        return drive(path)
    return path


def shown(path: str) -> str:
    """Returns a path as people write it: without what makes it long, and without `/` before the drive."""
    if path.startswith(_LONG_SHARE):
        return f"\\\\{path[len(_LONG_SHARE) :]}"
    if path.startswith(LONG):
        return path[len(LONG) :]
    return path[1:].replace("/", "\\") if _HOST_PLACE.match(path) else path


def host_place(path: str) -> str:
    r"""Returns an absolute path of Windows as plans have it, `C:\\web` as `/C:/web`; what is none as it is."""
    path = shown(path).replace("\\", "/")
    return f"/{path[0].upper()}{path[1:]}" if re.match(r"[A-Za-z]:/", path) else path


def join(folder: str, name: str) -> str:
    """Returns the path of an entry of a folder."""
    return f"{folder}{name}" if folder.endswith("\\") else f"{folder}\\{name}"


def _folded(path: str) -> str:
    r"""Without `.`, `..` and double separators: after `\\?\` the system takes every name as it is."""
    kept: list[str] = []
    for part in path.split("\\"):
        if part == "..":
            if kept:
                kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "\\".join(kept)
