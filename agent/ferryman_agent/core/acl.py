"""What an `acls` list means for one object with one mode (AG-356 … AG-361, V2-219, V2-220)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ferryman.appspec import AclEntry


class AclRule(NamedTuple):
    """One entry of a complete ACL. `tag` is user, group, mask or other; `ident` is None for the unnamed one."""

    tag: str
    ident: int | None
    permissions: int


class Acl(NamedTuple):
    """The whole ACL of one object: it replaces what is there. `default` is empty for what has none."""

    access: tuple[AclRule, ...]
    default: tuple[AclRule, ...] = ()


NO_ACL = Acl(())
"""What an object gets that had an ACL and is to have none."""


def complete_acl(
    entries: Iterable[AclEntry], mode: int, users: Mapping[str, int], groups: Mapping[str, int]
) -> Acl:
    """Returns the ACL for an object that has `mode`, which is applied before (AG-361).

    Base entries come from the mode; a mask is the group's bits where named entries need one; default entries that are
    missing are taken from the mode, their mask from the default group. Names must be known in `users` and `groups`.
    """
    access: dict[tuple[str, int | None], int] = {
        ("user", None): mode >> 6 & 7,
        ("group", None): mode >> 3 & 7,
        ("other", None): mode & 7,
    }
    default: dict[tuple[str, int | None], int] = {}
    for entry in entries:
        names = users if entry.tag == "user" else groups
        key = (entry.tag, names[entry.name] if entry.name else None)
        (default if entry.is_default else access)[key] = entry.permissions
    _add_mask(access, mode >> 3 & 7)
    if default:
        for tag, bits in (("user", mode >> 6 & 7), ("group", mode >> 3 & 7), ("other", mode & 7)):
            default.setdefault((tag, None), bits)
        _add_mask(default, default["group", None])
    return Acl(_rules(access), _rules(default))


def _add_mask(rules: dict[tuple[str, int | None], int], bits: int) -> None:
    if any(ident is not None for _, ident in rules):
        rules.setdefault(("mask", None), bits)


def _rules(rules: Mapping[tuple[str, int | None], int]) -> tuple[AclRule, ...]:
    return tuple(AclRule(tag, ident, bits) for (tag, ident), bits in rules.items())
