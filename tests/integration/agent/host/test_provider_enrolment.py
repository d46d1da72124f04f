"""`enroll` of a cloud machine: against a metadata service on loopback, through the real command."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ferryman_agent.errors import IdentityError
from ferryman_agent.host import identity, provider_identity
from tests.support.agent_home import AgentHome
from tests.support.fake_coordinator import FakeCoordinator

DOCUMENT = json.dumps({"instanceId": "i-0abc", "region": "eu-central-1"}, indent=2).encode()
SIGNATURE = b"c2lnbmF0dXJl\n"


class Metadata:
    """A metadata service of the second version; `answers` may be changed."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, bytes]] = {
            "PUT /latest/api/token": (200, b"a-token"),
            "GET /latest/dynamic/instance-identity/document": (200, DOCUMENT),
            "GET /latest/dynamic/instance-identity/signature": (200, SIGNATURE),
        }
        self.address = ""

    def environment(self) -> dict[str, str]:
        return {provider_identity.ENDPOINT_VARIABLE: self.address}

    @contextmanager
    def served(self) -> Iterator[Metadata]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                what = f"{self.command} {self.path}"
                outer.asked.append(what)
                status, content = outer.answers.get(what, (404, b""))
                name = (
                    "X-aws-ec2-metadata-token-ttl-seconds"
                    if self.command == "PUT"
                    else "X-aws-ec2-metadata-token"
                )
                if name not in self.headers or (self.command == "GET" and self.headers[name] != "a-token"):
                    status, content = 401, b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = answer  # noqa: N815  # as the server looks for them

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with Metadata().served() as served:
        yield served


@pytest.fixture
def home(tmp_path: Path, metadata: Metadata) -> AgentHome:
    home = AgentHome(tmp_path)
    home.environ |= metadata.environment()
    return home


def saved(home: AgentHome) -> identity.Identity:
    return identity.load(home.home / "state" / "identity.json")


async def test_without_a_token_the_provider_vouches(home: AgentHome, coordinator: FakeCoordinator) -> None:
    fingerprint = ("--ca-fingerprint", f"sha256:{coordinator.ca.fingerprint}")
    code, told = await home.run(
        "enroll", "--coordinator", coordinator.address, "--kind", "cloud", *fingerprint
    )
    assert code == 0, told
    (asked,) = coordinator.enrolments
    assert (asked.join_token, asked.provider_instance_id, asked.instance_name) == ("", "i-0abc", "")
    said = asked.provider_identity
    assert (said.provider, said.document, said.signature) == ("aws", DOCUMENT, SIGNATURE)
    assert saved(home).instance_id == "i-0abc"


async def test_without_a_token_somebody_must_say_which_coordinator(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    code, told = await home.run("enroll", "--coordinator", coordinator.address, "--provider", "aws")
    assert (code, "give --ca-file or --ca-fingerprint" in told) == (1, True)
    assert coordinator.enrolments == []


async def test_with_a_token_and_an_id_nobody_is_asked(
    home: AgentHome, coordinator: FakeCoordinator, metadata: Metadata
) -> None:
    code, told = await home.enroll(coordinator, "--kind", "cloud", "--instance-id", "i-0def", "--tag", "a=b")
    assert code == 0, told
    (asked,) = coordinator.enrolments
    assert (asked.provider_instance_id, asked.HasField("provider_identity")) == ("i-0def", False)
    assert (asked.instance_name, asked.tags[0].key) == ("", "a")
    assert (saved(home).instance_id, metadata.asked) == ("i-0def", [])


async def test_both_go_together_and_must_agree(
    home: AgentHome, coordinator: FakeCoordinator, metadata: Metadata
) -> None:
    wrong = await home.enroll(coordinator, "--provider", "aws", "--instance-id", "i-0def")
    assert (wrong[0], "this machine is i-0abc" in wrong[1]) == (1, True)
    code, told = await home.enroll(coordinator, "--provider", "aws", "--instance-id", "i-0abc")
    assert code == 0, told
    (asked,) = coordinator.enrolments
    assert asked.join_token == coordinator.token
    assert asked.provider_identity.document == DOCUMENT


async def test_kinds_that_contradict_are_wrong_usage(home: AgentHome, coordinator: FakeCoordinator) -> None:
    code, told = await home.enroll(coordinator, "--kind", "on-premises", "--instance-id", "i-0abc")
    assert (code, "leave --kind on-premises out" in told) == (2, True)
    assert (await home.enroll(coordinator, "--kind", "on-premises"))[0] == 0


@pytest.mark.parametrize(
    "what,answer,text",
    [
        ("PUT /latest/api/token", (403, b""), "it answers 403 to PUT /latest/api/token"),
        ("PUT /latest/api/token", (200, b"\xff"), "does not say who this machine is"),
        ("GET /latest/dynamic/instance-identity/document", (404, b""), "it answers 404"),
        ("GET /latest/dynamic/instance-identity/document", (200, b"x" * 17_000), "larger than 16 KiB"),
        ("GET /latest/dynamic/instance-identity/document", (200, b"[]"), "gives no identity document"),
        ("GET /latest/dynamic/instance-identity/document", (200, b'{"instanceId": 7}'), "gives no identity"),
        ("GET /latest/dynamic/instance-identity/signature", (500, b""), "it answers 500"),
    ],
)
async def test_what_is_no_metadata_service_is_told_apart(
    metadata: Metadata, what: str, answer: tuple[int, bytes], text: str
) -> None:
    metadata.answers[what] = answer
    with pytest.raises(IdentityError, match=text):
        await asyncio.to_thread(provider_identity.ask, "aws", metadata.environment())


@pytest.mark.parametrize("address", ["169.254.169.254", "https://x", "http://", "http://x:port"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(IdentityError, match="AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        provider_identity.ask("aws", {provider_identity.ENDPOINT_VARIABLE: address})


def test_nobody_there_is_told_with_the_way_out() -> None:
    with pytest.raises(IdentityError, match="enroll with a join token"):
        provider_identity.ask("aws", {provider_identity.ENDPOINT_VARIABLE: "http://127.0.0.1:1"})


@pytest.mark.req("CP-102", "CP-104")
async def test_a_host_file_with_its_token_in_it_is_all_that_an_enrolment_needs(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    path = home.home / "ferryman.onpremises.yml"
    content = {"host_name": "web-7", "coordinator": coordinator.address, "join_token": coordinator.token}
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
    code, told = await home.run("enroll")
    assert code == 0, told
    assert saved(home).instance_name == "web-7"
