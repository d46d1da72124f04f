"""Becoming the account that the configuration names, before anything is opened (AG-063, AG-K22)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ferryman_agent.errors import ConfigError
from ferryman_agent.files.atomic import make_directory
from ferryman_agent.system import fs, grp, pwd


@dataclass(frozen=True, slots=True)
class Account:
    """Whom to become."""

    name: str
    uid: int
    gid: int


def account(user: str, group: str) -> Account:
    """Returns the account of these names, with the user's own group unless one is given. Raises ConfigError."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"user: there is no account {user!r} on this machine") from None
    if not group:
        return Account(user, found.pw_uid, found.pw_gid)
    try:
        return Account(user, found.pw_uid, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise ConfigError(f"group: there is no group {group!r} on this machine") from None


def become(user: str, group: str, directories: Iterable[tuple[Path, int]]) -> None:
    """Gives up root for good, after making the directories that are missing for whom it becomes; with their modes.

    Does nothing without a user, or where this process is that user already. Raises ConfigError.
    """
    if not user:
        return
    wanted = account(user, group)
    if fs.geteuid() == wanted.uid:
        return
    if fs.geteuid() != 0:
        raise ConfigError(
            f"the agent is to run as {user} and was started as user {fs.geteuid()}: start it as root or as {user}"
        )
    make_directories(wanted, directories)
    try:
        os.initgroups(wanted.name, wanted.gid)
        os.setgid(wanted.gid)
        os.setuid(wanted.uid)
    except OSError as error:
        raise ConfigError(f"cannot become {user}: {error.strerror}") from error


def make_directories(owner: Account, directories: Iterable[tuple[Path, int]]) -> None:
    """Makes directories that are missing, with their modes, and gives them to somebody. Raises ConfigError."""
    for path, mode in directories:
        if not path.exists():
            try:
                make_directory(path.parent, 0o755)
                _make(path, mode, owner)
            except OSError as error:
                raise ConfigError(f"cannot make {path} for {owner.name}: {error.strerror}") from error


def _make(path: Path, mode: int, owner: Account) -> None:
    # By descriptor: the folder above may be the owner's already, who could put a link to another one in its place.
    above = fs.open(path.parent, fs.O_RDONLY | fs.O_DIRECTORY)
    try:
        fs.mkdir(path.name, 0o700, dir_fd=above)
        made = fs.open(path.name, fs.O_RDONLY | fs.O_DIRECTORY | fs.O_NOFOLLOW, dir_fd=above)
    finally:
        os.close(above)
    try:
        fs.fchown(made, owner.uid, owner.gid)
        fs.fchmod(made, mode)
    finally:
        os.close(made)
