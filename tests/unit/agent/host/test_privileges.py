"""Which account the agent becomes, and what keeps it from that."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from ferryman_agent.errors import ConfigError
from ferryman_agent.host import privileges


@pytest.mark.req("AG-063")
def test_the_account_must_be_there() -> None:
    with pytest.raises(ConfigError, match="user: there is no account 'nobody-of-that-name'"):
        privileges.become("nobody-of-that-name", "", [])
    with pytest.raises(ConfigError, match="group: there is no group 'no-group-of-that-name'"):
        privileges.become(pwd.getpwuid(0).pw_name, "no-group-of-that-name", [])


@pytest.mark.req("AG-063")
def test_the_group_is_the_user_s_own_unless_one_is_given() -> None:
    root, other = pwd.getpwuid(0), next(each for each in grp.getgrall() if each.gr_gid != 0)
    assert privileges.account(root.pw_name, "") == privileges.Account(root.pw_name, 0, root.pw_gid)
    assert privileges.account(root.pw_name, other.gr_name).gid == other.gr_gid


@pytest.mark.req("AG-063")
def test_who_is_neither_root_nor_that_user_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    name = pwd.getpwuid(0).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ConfigError, match=f"is to run as {name} and was started as user 54321"):
        privileges.become(name, "", [])


def test_nobody_is_named_or_it_is_that_user_already() -> None:
    privileges.become("", "", [])
    privileges.become(pwd.getpwuid(os.geteuid()).pw_name, "", [])
