"""Users and groups of this host, by name or number (AG-V43)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ferryman.appspec import AppSpec
from ferryman_agent.core.install_facts import User
from ferryman_agent.system import fs, grp, pwd


def agent_user() -> User:
    """Returns who this process is."""
    return User(fs.geteuid(), frozenset({fs.getegid(), *fs.getgroups()}))


def users_of(appspec: AppSpec, *, with_scripts: bool = False) -> dict[str, int]:
    """Returns the numbers of the users that `permissions` name, without those that do not exist.

    `with_scripts`: those that scripts shall run as, too.
    """
    names = [permission.owner for permission in appspec.permissions]
    names += [ace.name for one in appspec.permissions for ace in one.acls if ace.tag == "user"]
    if with_scripts:
        names += [(script.runas or "").strip() for each in appspec.hooks.values() for script in each]
    return _numbers(names, lambda name: pwd.getpwnam(name).pw_uid)


def groups_of(appspec: AppSpec) -> dict[str, int]:
    """Returns the numbers of the groups that `permissions` name, without those that do not exist."""
    names = [permission.group for permission in appspec.permissions]
    names += [ace.name for one in appspec.permissions for ace in one.acls if ace.tag == "group"]
    return _numbers(names, lambda name: grp.getgrnam(name).gr_gid)


def _numbers(names: Iterable[str | None], look_up: Callable[[str], int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        if not name or name in found:
            continue
        try:
            found[name] = look_up(name)
        except (KeyError, ValueError, UnicodeError):
            # Numbers need no account (2**32 - 1 means "unchanged" to the kernel).
            if name.isascii() and name.isdigit() and int(name) < 2**32 - 1:
                found[name] = int(name)
    return found
