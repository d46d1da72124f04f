"""Locked out of a coordinator, and the way back in."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from ferryman.v1 import identity_pb2
from ferryman_coordinator.clock import SystemClock
from ferryman_coordinator.config import load
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.process import verify_audit
from ferryman_coordinator.upkeep.recovery import recover_admin
from tests.support.coordinator import RunningCoordinator, refusal, running_coordinator
from tests.support.people import deny, identity_stub, person, records, role_with


async def grant(coordinator: RunningCoordinator, user: str, role: str) -> None:
    async with coordinator.channel() as channel:
        request = identity_pb2.GrantRoleRequest(user=user, role=role)
        await identity_stub(channel).GrantRole(request, metadata=coordinator.admin)


async def test_who_owns_the_data_directory_gets_in_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = load(None, {}, {"data_dir": str(data)})
    async with running_coordinator(data) as first:
        ann = await person(first, "ann", "admin")
        async with first.channel() as channel:
            request = identity_pb2.UpdateUserRequest(name="admin", is_enabled=False)
            await identity_stub(channel).UpdateUser(request, metadata=ann)
    assert await recover_admin(config, SystemClock()) == data / "admin.token"
    async with running_coordinator(data) as second:
        assert second.admin_token != first.admin_token
        # Everybody is shut out by a role that was meant for somebody else.
        await role_with(second, "shut", deny("*"))
        await grant(second, "ann", "shut")
        await grant(second, "admin", "shut")
        async with second.channel() as channel:
            users = identity_stub(channel).ListUsers(identity_pb2.ListUsersRequest(), metadata=second.admin)
            code, fault = await refusal(users)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "role shut forbids it" in fault.message
        with pytest.raises(SetupError, match="is in use by process"):
            await recover_admin(config, SystemClock())
    await recover_admin(config, SystemClock())
    async with running_coordinator(data) as third:
        async with third.channel() as channel:
            await identity_stub(channel).ListUsers(identity_pb2.ListUsersRequest(), metadata=third.admin)
        found = [record.event_name for record in await records(third)]
        assert found.count("RecoverAdmin") == 2
    assert (await verify_audit(config)).is_intact


async def test_there_is_nothing_to_recover_where_no_coordinator_was(tmp_path: Path) -> None:
    config = load(None, {}, {"data_dir": str(tmp_path / "none")})
    with pytest.raises(SetupError, match="no coordinator has run with"):
        await recover_admin(config, SystemClock())
    assert not (tmp_path / "none").exists()
