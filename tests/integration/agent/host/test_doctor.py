"""doctor on a real machine, against real servers: what each kind of trouble with the coordinator looks like."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.cli import doctor
from ferryman_agent.config.values import ProxyAddress
from ferryman_agent.core.checkup import Hurdle
from ferryman_agent.host import identity
from ferryman_agent.host.identity import Identity
from ferryman_agent.host.reach import try_coordinator, try_proxy
from tests.support.agent_home import AgentHome
from tests.support.fake_coordinator import FakeCoordinator
from tests.support.identities import an_identity


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[AgentHome]:
    made = AgentHome(tmp_path)
    yield made
    await made.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def examined(home: AgentHome, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the worst finding of each check."""
    code, told = await home.run("doctor", "--json", *options)
    content = json.loads(told)
    assert content["ok"] is (code == 0)
    order = {"ok": 0, "warn": 1, "fail": 2}
    worst: dict[str, dict[str, Any]] = {}
    for each in content["checks"]:
        known = worst.get(each["check"])
        if known is None or order[each["verdict"]] > order[known["verdict"]]:
            worst[each["check"]] = each
    return code, worst


@pytest.mark.req("AG-543")
async def test_an_agent_that_is_well(home: AgentHome, coordinator: FakeCoordinator) -> None:
    await home.enroll(coordinator)
    await home.start()
    await coordinator.connected()
    await home.until(lambda: home.status()["link"]["state"] == "connected")
    code, found = await examined(home)
    assert code == 0, found
    for check in ("identity", "certificate", "coordinator", "tls", "agent", "disk"):
        assert found[check]["verdict"] == "ok", found[check]
    assert "TLSv1.3" in found["tls"]["message"]
    _, text = await home.run("doctor")
    assert all(line[:5].strip() in ("ok", "warn", "fail", "") for line in text.splitlines())


@pytest.mark.req("AG-543")
async def test_without_coordinator_identity_or_even_configuration(home: AgentHome) -> None:
    home.config.write_text("max_revisions: none\nroot_dri: /x\n")
    before = sorted(os.listdir(home.home))
    code, found = await examined(home)
    assert code == 1
    assert "max_revisions" in found["configuration"]["message"]
    assert "not enrolled" in found["identity"]["message"]
    assert found["identity"]["fix"]
    assert sorted(os.listdir(home.home)) == before
    code, found = await examined(home, "--config", str(home.home / "none.yml"))
    assert "no such file" in found["configuration"]["message"]


@pytest.mark.req("AG-543")
async def test_a_coordinator_that_is_away(home: AgentHome, coordinator: FakeCoordinator) -> None:
    await home.enroll(coordinator)
    await coordinator.stop()
    code, found = await examined(home)
    assert code == 1
    assert found["coordinator"]["verdict"] == "fail"
    assert "refused" in found["coordinator"]["message"].lower()
    assert found["agent"]["verdict"] == "warn"


class TestReach:
    """One try, in this process."""

    async def who(self, home: AgentHome, coordinator: FakeCoordinator) -> Identity:
        await home.enroll(coordinator)
        return identity.load(home.home / "state" / "identity.json")

    async def tried(self, known: Identity, proxy: ProxyAddress | None = None) -> tuple[Hurdle, str]:
        found = await asyncio.to_thread(try_coordinator, known, proxy)
        return found.hurdle, found.detail

    @pytest.mark.req("AG-543", "AG-092")
    async def test_another_ca_is_not_trusted(self, home: AgentHome, coordinator: FakeCoordinator) -> None:
        known = await self.who(home, coordinator)
        async with FakeCoordinator() as other:
            values = {name: getattr(known, name) for name in known.__slots__}
            hurdle, detail = await self.tried(Identity(**values | {"agents_port": other.agents_port}))
        assert hurdle is Hurdle.TRUST
        assert "not trusted" in detail

    @pytest.mark.req("AG-543")
    async def test_a_certificate_that_the_coordinator_does_not_know(
        self, home: AgentHome, coordinator: FakeCoordinator
    ) -> None:
        known = await self.who(home, coordinator)
        async with FakeCoordinator() as other:
            stranger = AgentHome(home.home / "other")
            stranger.home.mkdir()
            theirs = await self.who(stranger, other)
        values = {name: getattr(known, name) for name in known.__slots__}
        mixed = {"private_key": theirs.private_key, "certificate_chain": theirs.certificate_chain}
        hurdle, _ = await self.tried(Identity(**values | mixed))
        assert hurdle is Hurdle.IDENTITY

    @pytest.mark.req("AG-543")
    async def test_a_broken_key_and_a_name_that_nobody_knows(self) -> None:
        assert (await self.tried(an_identity()))[0] is Hurdle.IDENTITY

    @pytest.mark.req("AG-543", "AG-072", "V2-350")
    async def test_the_way_through_a_proxy(self, home: AgentHome, coordinator: FakeCoordinator) -> None:
        known = await self.who(home, coordinator)
        heard: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readuntil(b"\r\n\r\n")
            heard.append(request)
            if b"Basic dTpw" not in request:
                writer.write(b"HTTP/1.1 407 Who are you\r\n\r\n")
                writer.close()
                return
            there, out = await asyncio.open_connection("127.0.0.1", known.agents_port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(pump(reader, out), pump(there, writer))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while piece := await source.read(4096):
                sink.write(piece)
            sink.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert await self.tried(known, ProxyAddress.parse(f"http://u:p@127.0.0.1:{port}")) == (
                Hurdle.NONE,
                "",
            )
            hurdle, detail = await self.tried(known, ProxyAddress.parse(f"http://127.0.0.1:{port}"))
            assert hurdle is Hurdle.PROXY
            assert "407 Who are you" in detail
            assert try_proxy(ProxyAddress.parse(f"http://127.0.0.1:{port}")).hurdle is Hurdle.NONE
        assert heard[0].startswith(f"CONNECT {known.address} HTTP/1.1".encode())
        closed = ProxyAddress.parse(f"http://u:p@127.0.0.1:{free_port()}")
        assert (await self.tried(known, closed))[0] is Hurdle.PROXY
        assert try_proxy(closed).hurdle is Hurdle.PROXY


@pytest.mark.req("AG-543", "V2-274")
def test_what_is_found_never_shows_a_password(tmp_path: Path) -> None:
    (tmp_path / "ferrymanagent.yml").write_text(f"proxy_uri: http://u:geheim@127.0.0.1:{free_port()}\n")
    found = doctor.examine(None, {"FERRYMAN_AGENT_HOME": str(tmp_path)})
    for text in (doctor.as_json(found), doctor.as_text(found), repr(found)):
        assert "geheim" not in text
        assert "u:***@" in text
