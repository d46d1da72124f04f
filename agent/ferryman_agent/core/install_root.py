r"""Where destinations lie on the host: `/` or a directory instead of it, for several agents on one machine, and trials.

On Windows `/` is the machine: `C:\web` is `/C:/web` in plans and journals, so that they are the same on every system.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ferryman.appspec import AppSpec, Permission

_DRIVE = re.compile(r"([A-Za-z]):(?=[\\/])")


def below(root: str, appspec: AppSpec) -> AppSpec:
    """Returns the AppSpec with `root` before each absolute path of the host; itself when nothing changes.

    `root` is a place of the host, too. Below another directory than `/`, a drive is a folder of its letter: names of
    folders have no colon on Windows.
    """
    prefix = root.rstrip("/")
    if not prefix and not appspec.is_windows:
        return appspec
    return replace(
        appspec,
        files=tuple(
            replace(one, destination=prefix + _place(one.destination, appspec, prefix))
            for one in appspec.files
        ),
        permissions=tuple(_moved(prefix, one) for one in appspec.permissions),
    )


def _place(destination: str, appspec: AppSpec, prefix: str) -> str:
    if not appspec.is_windows:
        return destination
    found = _DRIVE.match(destination)
    if found is None:
        # A share, which the install refuses by its name: it is no drive.
        return destination.replace("\\", "/")
    rest = destination[found.end() :].replace("\\", "/")
    return f"/{found[1].upper()}{'' if prefix else ':'}{rest}"


def _moved(prefix: str, permission: Permission) -> Permission:
    exceptions = tuple(prefix + one if one.startswith("/") else one for one in permission.exceptions)
    return replace(permission, object=prefix + permission.object, exceptions=exceptions)
