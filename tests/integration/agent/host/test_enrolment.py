"""Enrolment against a server that speaks real TLS: whom the agent trusts, and how refusals read."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ferryman_agent.clock import SystemClock
from ferryman_agent.core.messages import Instant
from ferryman_agent.errors import IdentityError
from ferryman_agent.host import facts, identity
from ferryman_agent.host.enrolment import EnrolOrder, enrol, parse_address
from ferryman_agent.host.renewal import Renewal
from ferryman_agent.runtime import mapping
from tests.support.connect_proxy import ConnectProxy
from tests.support.fake_coordinator import FakeCoordinator
from tests.support.small_ca import SmallCa

NOW = Instant(1_700_000_000_000)


def an_order(coordinator: FakeCoordinator, **changes: object) -> EnrolOrder:
    host, port = parse_address(coordinator.address)
    values: dict[str, object] = {
        "host": host,
        "port": port,
        "token": coordinator.token,
        "facts": mapping.facts(facts.gather(Path("/"))),
    }
    return EnrolOrder(**values | changes)  # type: ignore[arg-type] # a test's shorthand


async def test_the_token_alone_is_enough(coordinator: FakeCoordinator, tmp_path: Path) -> None:
    wanted = an_order(coordinator, instance_name="web-1", tags={"fleet": "all"}, zone="z1")
    found = await enrol(wanted, NOW)
    assert found.instance_id == "i-1"
    assert found.agents_port == coordinator.agents_port
    assert found.ca_certificates.encode() == coordinator.ca.pem

    (asked,) = coordinator.enrolments
    assert (asked.instance_name, asked.zone, asked.tags[0].key) == ("web-1", "z1", "fleet")
    assert asked.facts.cpu_count > 0
    key = serialization.load_pem_private_key(found.private_key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    leaf = x509.load_pem_x509_certificate(found.certificate_chain.encode())
    assert leaf.public_key() == key.public_key()
    assert found.private_key.encode() not in asked.SerializeToString(), "the key never leaves the machine"

    path = tmp_path / "state" / "identity.json"
    identity.save(found, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert identity.load(path) == found


async def test_another_ca_behind_the_address_gets_no_token(coordinator: FakeCoordinator) -> None:
    await coordinator.stop()
    coordinator.server_ca = SmallCa("an impostor")
    await coordinator.start()
    with pytest.raises(
        IdentityError, match=r"is not the coordinator that was meant.*expected is the CA"
    ) as caught:
        await enrol(an_order(coordinator), NOW)
    assert coordinator.ca.fingerprint in str(caught.value)
    assert coordinator.enrolments == []


@pytest.mark.req("AG-092")
async def test_a_ca_file_that_did_not_sign_the_server_is_refused(coordinator: FakeCoordinator) -> None:
    with pytest.raises(IdentityError, match="cannot be verified"):
        await enrol(an_order(coordinator, ca_pem=SmallCa().pem), NOW)
    assert coordinator.enrolments == []


async def test_a_given_ca_or_fingerprint_wins_over_the_token(coordinator: FakeCoordinator) -> None:
    strange = coordinator.token.replace(coordinator.ca.fingerprint, "0" * 64)
    for changes in ({"ca_pem": coordinator.ca.pem}, {"ca_fingerprint": coordinator.ca.fingerprint}):
        assert (await enrol(an_order(coordinator, token=strange, **changes), NOW)).instance_id
    with pytest.raises(IdentityError, match="is not the coordinator"):
        await enrol(an_order(coordinator, token=strange), NOW)


@pytest.mark.parametrize(
    "token,uses,reason",
    [(lambda token: token[:-2] + "xx", 1, "JoinTokenInvalid"), (lambda token: token, 0, "JoinTokenUsedUp")],
)
async def test_a_refusal_says_what_the_coordinator_says(
    coordinator: FakeCoordinator, token: object, uses: int, reason: str
) -> None:
    assert callable(token)
    coordinator.token_uses = uses
    with pytest.raises(IdentityError, match=reason) as caught:
        await enrol(an_order(coordinator, token=token(coordinator.token)), NOW)
    assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "abc", "ferryman-join-2-00-x", "ferryman-join-1-zz-secret"])
async def test_what_is_no_token_is_refused_before_anything_is_sent(
    coordinator: FakeCoordinator, token: str
) -> None:
    with pytest.raises(IdentityError, match="not a join token"):
        await enrol(an_order(coordinator, token=token), NOW)
    assert coordinator.enrolments == []


async def test_nobody_there(coordinator: FakeCoordinator) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(IdentityError, match="cannot reach the coordinator at localhost:"):
            await enrol(an_order(coordinator, port=free.getsockname()[1]), NOW)


async def test_a_server_without_tls(coordinator: FakeCoordinator) -> None:
    def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        with pytest.raises(IdentityError, match="does not speak TLS"):
            await enrol(an_order(coordinator, port=server.sockets[0].getsockname()[1]), NOW)


@pytest.mark.parametrize("text", ["host", "host:", ":1", "host:0", "host:99999", "::1:7420", "host:x"])
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(IdentityError, match="is not an address"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("a.example:7420") == ("a.example", 7420)
    assert parse_address("[::1]:7420") == ("::1", 7420)


@pytest.mark.req("V2-350", "AG-072")
async def test_a_proxy_is_asked_for_the_first_look_and_for_the_enrolment(
    coordinator: FakeCoordinator,
) -> None:
    async with ConnectProxy(user="u", password="p w") as proxy:
        found = await enrol(an_order(coordinator, proxy=f"http://u:p%20w@127.0.0.1:{proxy.port}"), NOW)
        assert found.instance_id == "i-1"
        assert proxy.asked == [f"localhost:{coordinator.port}"] * 2
        with pytest.raises(
            IdentityError, match="the proxy 127.0.0.1:[0-9]+ does not let it through: 407"
        ) as caught:
            await enrol(an_order(coordinator, proxy=f"http://u:secret@127.0.0.1:{proxy.port}"), NOW)
        assert "secret" not in str(caught.value)
    with pytest.raises(IdentityError, match="cannot reach the coordinator"):
        await enrol(an_order(coordinator, proxy=f"http://127.0.0.1:{proxy.port}"), NOW)


@pytest.mark.req("AG-K15", "V2-352")
async def test_a_call_without_an_answer_is_given_up_after_its_time(
    coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    path = tmp_path / "identity.json"
    identity.save(await enrol(an_order(coordinator), NOW), path)
    coordinator.may_renew.clear()
    before = path.read_bytes()
    renewal = Renewal(path, SystemClock(), lambda: 0.0, lambda: None, call_seconds=0.2)
    with pytest.raises(IdentityError, match="DEADLINE_EXCEEDED"):
        await renewal.renew_once()
    assert path.read_bytes() == before
    coordinator.may_renew.set()
