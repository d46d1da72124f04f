"""What an `acls` list means for one object."""

import pytest

from ferryman.appspec import AclEntry
from ferryman_agent.core.acl import Acl, AclRule, complete_acl

USERS, GROUPS = {"bob": 1001}, {"web": 2001}


def acl(*entries: AclEntry, mode: int) -> Acl:
    return complete_acl(entries, mode, USERS, GROUPS)


def ace(tag: str, name: str, permissions: int, *, is_default: bool = False) -> AclEntry:
    return AclEntry(tag=tag, name=name, permissions=permissions, is_default=is_default)


@pytest.mark.req("AG-357", "AG-358", "AG-361", "V2-219")
def test_base_and_mask_come_from_the_mode() -> None:
    found = acl(ace("user", "bob", 6), mode=0o750)
    assert set(found.access) == {
        AclRule("user", None, 7),
        AclRule("group", None, 5),
        AclRule("other", None, 0),
        AclRule("user", 1001, 6),
        AclRule("mask", None, 5),
    }
    assert found.default == ()


@pytest.mark.req("AG-358", "AG-T52")
def test_a_given_mask_stays() -> None:
    found = acl(ace("group", "web", 7), ace("mask", "", 6), mode=0o700)
    assert AclRule("mask", None, 6) in found.access
    assert AclRule("group", 2001, 7) in found.access


@pytest.mark.req("AG-358")
def test_no_named_entry_no_mask() -> None:
    assert {rule.tag for rule in acl(mode=0o644).access} == {"user", "group", "other"}


@pytest.mark.req("AG-360", "AG-T52")
def test_every_object_is_computed_afresh() -> None:
    entries = (ace("user", "bob", 6),)
    assert AclRule("mask", None, 4) in acl(*entries, mode=0o640).access
    assert AclRule("mask", None, 0) in acl(*entries, mode=0o600).access


@pytest.mark.req("AG-359", "V2-219")
def test_defaults_are_completed() -> None:
    found = acl(ace("user", "bob", 7, is_default=True), ace("group", "", 1, is_default=True), mode=0o754)
    assert set(found.default) == {
        AclRule("user", None, 7),
        AclRule("group", None, 1),
        AclRule("other", None, 4),
        AclRule("user", 1001, 7),
        AclRule("mask", None, 1),
    }
    assert not any(rule.ident for rule in found.access)
