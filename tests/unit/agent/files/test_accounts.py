"""Users and groups that an AppSpec file names."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from ferryman.appspec import AclEntry, AppSpec, Permission
from ferryman_agent.files.accounts import agent_user, groups_of, users_of


@pytest.mark.req("AG-V43", "V2-217")
def test_names_and_numbers_that_exist() -> None:
    user, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    aces = (
        AclEntry(tag="user", name=user, permissions=4),
        AclEntry(tag="group", name="31337", permissions=4),
        AclEntry(tag="mask", name="", permissions=4),
    )
    appspec = AppSpec(
        permissions=(
            Permission(object="/a", owner="4711", group=group, acls=aces),
            Permission(object="/b", owner="no-such-user-here", group="no-such-group-here"),
            Permission(object="/c", owner=str(2**32 - 1), group="٣"),
        )
    )
    assert users_of(appspec) == {"4711": 4711, user: 0}
    assert groups_of(appspec) == {group: 0, "31337": 31337}


def test_who_the_agent_is() -> None:
    user = agent_user()
    assert user.uid == os.geteuid()
    assert os.getegid() in user.gids
    assert user.is_root is (os.geteuid() == 0)
