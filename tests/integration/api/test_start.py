"""What stands in the way of a start, said in words that name the thing and the way out."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from ferryman.v1 import agents_pb2, identity_pb2, inventory_pb2
from ferryman_coordinator.config import load
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.process import migrate_database
from tests.support.coordinator import inventory_stub, running_coordinator
from tests.support.coordinator import refusal as call_refusal
from tests.support.people import identity_stub, person
from tests.support.wire_agent import connected


async def refusal(data_dir: Path, **settings: str) -> str:
    with pytest.raises(SetupError) as caught:
        async with running_coordinator(
            data_dir, {name.replace("__", "."): text for name, text in settings.items()}
        ):
            raise AssertionError("it started")
    return str(caught.value)


@pytest.mark.parametrize(
    "setting,option",
    [
        ("listen__grpc", "--grpc-listen"),
        ("listen__agents", "--agents-listen"),
        ("listen__http", "--http-listen"),
    ],
)
async def test_a_port_that_is_taken_is_named_with_the_way_out(
    tmp_path: Path, setting: str, option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        message = await refusal(tmp_path / "data", **{setting: address})
    assert message.startswith(f"cannot listen on {address} for ")
    assert "another process listens there" in message
    assert option in message
    # Nothing is left behind that a start on another port would trip over.
    async with running_coordinator(tmp_path / "data"):
        pass


async def test_two_coordinators_never_share_a_port(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "a") as first:
        message = await refusal(tmp_path / "b", listen__grpc=str(first.ready.grpc))
    assert "another process listens there, perhaps another coordinator" in message


@pytest.mark.parametrize(
    "address,why",
    [("192.0.2.7:0", "this machine has no such address"), ("no.such.host.invalid:0", "cannot be resolved")],
)
@pytest.mark.parametrize("setting", ["listen__grpc", "listen__http"])
async def test_an_address_that_cannot_be_is_named(
    tmp_path: Path, setting: str, address: str, why: str
) -> None:
    assert why in await refusal(tmp_path / "data", **{setting: address})


async def test_a_database_of_a_newer_version_is_named(tmp_path: Path) -> None:
    config = load(None, {}, {"data_dir": str(tmp_path / "data")})
    await migrate_database(config)
    database = sqlite3.connect(tmp_path / "data" / "ferryman.db")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    assert "schema 9999, made by a newer Ferryman" in await refusal(tmp_path / "data")
    with pytest.raises(SetupError, match="schema 9999"):
        await migrate_database(config)


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = await refusal(tmp_path / "file" / "data")
    assert f"cannot use the directory {tmp_path}/file/data: Not a directory" in message


async def test_half_an_authority_is_named_and_left_alone(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data"):
        pass
    (tmp_path / "data" / "ca" / "ca.key").unlink()
    assert "ca.key is missing while" in await refusal(tmp_path / "data")
    assert not (tmp_path / "data" / "ca" / "ca.key").exists()


async def test_a_lost_authority_is_not_replaced_in_silence(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data"):
        pass
    shutil.rmtree(tmp_path / "data" / "ca")
    before = (tmp_path / "data" / "ca.pem").read_bytes()
    assert "restore it from a backup" in await refusal(tmp_path / "data")
    assert (tmp_path / "data" / "ca.pem").read_bytes() == before


@pytest.mark.parametrize("content", [None, "", "junk", "ferryman-access-1-of-another-database"])
async def test_an_admin_token_that_is_lost_is_made_anew(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "data" / "admin.token"
    async with running_coordinator(tmp_path / "data") as first:
        pass
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    async with running_coordinator(tmp_path / "data") as second:
        assert second.admin_token not in (first.admin_token, content)
        # Whoever holds the old one is not locked out.
        for token in (first.admin_token, second.admin_token):
            caller = replace(second, admin_token=token)
            async with caller.channel() as channel:
                request = inventory_pb2.ListApplicationsRequest()
                await inventory_stub(channel).ListApplications(request, metadata=caller.admin)
    async with running_coordinator(tmp_path / "data") as third:
        assert third.admin_token == second.admin_token


@pytest.mark.req("PF-247")
async def test_the_first_administrator_stays_out_of_service_once_it_is(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data") as first:
        ann = await person(first, "ann", "admin")
        async with first.channel() as channel:
            request = identity_pb2.UpdateUserRequest(name="admin", is_enabled=False)
            await identity_stub(channel).UpdateUser(request, metadata=ann)
    (tmp_path / "data" / "admin.token").write_text("lost")
    async with running_coordinator(tmp_path / "data") as second, second.channel() as channel:
        # No new one was made, and the old one is good for nothing.
        assert second.admin_token == "lost"
        await identity_stub(channel).WhoAmI(identity_pb2.WhoAmIRequest(), metadata=ann)
        code, _ = await call_refusal(
            identity_stub(channel).WhoAmI(identity_pb2.WhoAmIRequest(), metadata=first.admin)
        )
        assert code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("what", ["open and full", "a file"])
async def test_a_directory_of_somebody_else_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    place = tmp_path / "home"
    if what == "a file":
        place.write_text("mine")
        assert f"{place} is no directory" in await refusal(place)
        return
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    (place / "letter").write_text("mine")
    assert "holds files that are not Ferryman's" in await refusal(place)
    assert (stat.S_IMODE(place.stat().st_mode), os.listdir(place)) == (0o755, ["letter"])


@pytest.mark.parametrize(
    "url,why",
    [
        ("mysql://db/ferryman", "cannot use a database of kind 'mysql'"),
        ("nonsense:hunter2", "cannot read database.url"),
        ("postgresql://u:hunter2@127.0.0.1:1/ferryman", "cannot open the database"),
    ],
)
async def test_a_database_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path, url: str, why: str
) -> None:
    message = await refusal(tmp_path / "data", database__url=url)
    assert why in message
    assert "hunter2" not in message


async def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    message = await refusal(
        tmp_path / "data",
        database__url="postgresql://u@127.0.0.1:1/f",
        database__password_file=str(tmp_path / "none"),
    )
    assert message == f"there is no file {tmp_path}/none, which database.password_file names"


async def test_a_coordinator_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    settings = {"database.url": postgres_url}
    async with running_coordinator(tmp_path / "data", settings) as first:
        agent = await first.enrol("web-1")
    async with running_coordinator(tmp_path / "data", settings | {"listen.agents": agent.address}) as second:
        assert second.admin_token == first.admin_token
        async with connected(agent) as stream:
            assert (await stream.hello()).instance_id == agent.instance_id
            await stream.say(goodbye=agents_pb2.Goodbye())
            await stream.ended()
    assert not (tmp_path / "data" / "ferryman.db").exists()
