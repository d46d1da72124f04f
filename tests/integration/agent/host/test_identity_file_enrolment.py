"""`enroll` with what the identity file says, through the real command against a coordinator on loopback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ferryman_agent.host import certificates, identity
from tests.support.agent_home import AgentHome
from tests.support.fake_coordinator import FakeCoordinator
from tests.support.small_ca import SmallCa

ARN = "arn:aws:iam::123456789012:user/CodeDeploy/web-9"


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return AgentHome(tmp_path)


def secret(path: Path, content: bytes | str) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o600)
    return str(path)


def say(home: AgentHome, **content: Any) -> Path:
    path = home.home / "ferryman.onpremises.yml"
    secret(path, yaml.safe_dump(content))
    return path


@pytest.mark.req("AG-081")
async def test_the_file_says_everything_that_an_enrolment_needs(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    say(
        home,
        host_name="web-7",
        coordinator=coordinator.address,
        ca_file=secret(home.home / "ca.pem", coordinator.ca.pem),
        join_token_file=secret(home.home / "token", coordinator.token + "\n"),
    )
    code, told = await home.run("enroll")
    assert code == 0, told
    assert identity.load(home.home / "state" / "identity.json").instance_name == "web-7"


@pytest.mark.req("AG-082", "AG-081")
async def test_a_token_that_others_can_read_is_not_used(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    token = home.home / "token"
    say(
        home,
        host_name="web-7",
        coordinator=coordinator.address,
        ca_file=secret(home.home / "ca.pem", coordinator.ca.pem),
        join_token_file=secret(token, coordinator.token),
    )
    token.chmod(0o644)
    code, told = await home.run("enroll")
    assert code == 1
    assert f"chmod 600 {token}" in told
    assert not (home.home / "state" / "identity.json").exists()
    assert coordinator.token not in told


@pytest.mark.req("AG-079", "AG-542")
async def test_the_original_s_file_names_the_instance_and_shows_in_status(
    home: AgentHome, coordinator: FakeCoordinator
) -> None:
    say(home, iam_user_arn=ARN, aws_access_key_id="A", aws_secret_access_key="geheim", region="eu-west-1")
    code, told = await home.run("enroll")
    assert code == 1
    assert "no join token is given" in told
    code, told = await home.enroll(coordinator)
    assert code == 0, told
    assert identity.load(home.home / "state" / "identity.json").instance_name == "web-9"
    _, told = await home.run("status", "--json")
    facts = json.loads(told)
    assert (facts["host_identifier"], facts["region"]) == (ARN, "eu-west-1")
    assert facts["identity_file_problem"] is None
    _, text = await home.run("status")
    assert f"asks to be    {ARN} in eu-west-1" in text
    assert "geheim" not in told + text


@pytest.mark.req("AG-076", "AG-542")
async def test_a_broken_file_is_shown_by_status_and_stops_an_enrolment_that_needs_it(home: AgentHome) -> None:
    say(home, iam_user_arn=ARN, iam_session_arn=ARN)
    code, told = await home.run("enroll", "--coordinator", "127.0.0.1:1")
    assert code == 1
    assert "both iam_user_arn and iam_session_arn" in told
    _, told = await home.run("status", "--json")
    assert "both" in json.loads(told)["identity_file_problem"]


class TestGivenCertificate:
    """`cert_file` and `key_file`: no enrolment."""

    def files(
        self, home: AgentHome, *, lifetime: float = 3600, foreign_key: bool = False, uri: str = ""
    ) -> Path:
        ca, made = SmallCa(), certificates.make("x")
        signed = ca.sign(made.request.encode(), "web-7", lifetime, uri=uri)
        key = made.private_key.encode()
        if foreign_key:
            key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        return say(
            home,
            host_name="web-7",
            coordinator="c.corp:7422",
            ca_file=secret(home.home / "ca.pem", ca.pem),
            cert_file=secret(home.home / "c.pem", signed.chain),
            key_file=secret(home.home / "k.pem", key),
        )

    @pytest.mark.req("AG-081")
    async def test_it_becomes_the_agent_s_identity(self, home: AgentHome) -> None:
        self.files(home, uri="ferryman:instance:i-77")
        code, told = await home.run("enroll")
        assert code == 0, told
        found = identity.load(home.home / "state" / "identity.json")
        assert (found.instance_id, found.instance_name, found.address) == ("i-77", "web-7", "c.corp:7422")
        leaf = x509.load_pem_x509_certificate(found.certificate_chain.encode())
        assert found.expires_at == leaf.not_valid_after_utc.timestamp() * 1000

    @pytest.mark.req("AG-081")
    @pytest.mark.parametrize(
        "broken,part",
        [
            ({"foreign_key": True, "uri": "ferryman:instance:i-77"}, "is not that of the certificate"),
            ({"lifetime": -60, "uri": "ferryman:instance:i-77"}, "is not valid now"),
            ({"uri": "other:i-77"}, "names no instance"),
            ({}, "no PEM certificate of an agent"),
        ],
    )
    async def test_what_does_not_fit_is_refused(
        self, home: AgentHome, broken: dict[str, Any], part: str
    ) -> None:
        self.files(home, **broken)
        code, told = await home.run("enroll")
        assert code == 1
        assert part in told
        assert not (home.home / "state" / "identity.json").exists()
