"""Installing below a directory instead of `/`: for several agents on one machine, and for trials."""

from __future__ import annotations

from dataclasses import replace

from ferryman.appspec import AppSpec, Permission


def below(root: str, appspec: AppSpec) -> AppSpec:
    """Returns the AppSpec with `root` before each absolute path of the host; itself when `root` is `/`."""
    prefix = root.rstrip("/")
    if not prefix:
        return appspec
    return replace(
        appspec,
        files=tuple(replace(one, destination=prefix + one.destination) for one in appspec.files),
        permissions=tuple(_moved(prefix, one) for one in appspec.permissions),
    )


def _moved(prefix: str, permission: Permission) -> Permission:
    exceptions = tuple(prefix + one if one.startswith("/") else one for one in permission.exceptions)
    return replace(permission, object=prefix + permission.object, exceptions=exceptions)
