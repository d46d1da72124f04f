"""Identity documents of Amazon EC2, signed by a signer of our own."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ferryman_coordinator.config.schema import AwsIdentity
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.provider_identity import ProviderProof, Vouched
from ferryman_coordinator.errors import Denied, SetupError, Unauthenticated
from ferryman_coordinator.identity.providers import trusted_providers
from ferryman_coordinator.identity.providers.aws import AwsDocuments
from tests.support.certificates import self_signed

LAUNCHED = "2024-05-01T12:00:00Z"
THEN = Instant(1_714_564_800_000)
MINUTE = 60_000
ACCOUNT = "123456789012"
FACTS: dict[str, object] = {
    "accountId": ACCOUNT, "architecture": "x86_64", "availabilityZone": "eu-central-1b", "billingProducts": None,
    "imageId": "ami-0123", "instanceId": "i-0123456789abcdef0", "instanceType": "t3.micro",
    "pendingTime": LAUNCHED, "privateIp": "10.0.0.7", "region": "eu-central-1", "version": "2017-09-30",
}  # fmt: skip


class Signer:
    """What Amazon is in one region."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(self_signed(self._key))

    def proof(self, **changes: object) -> ProviderProof:
        document = json.dumps({**FACTS, **changes}, indent=2).encode()
        return ProviderProof(provider="aws", document=document, signature=self.signature(document))

    def signature(self, document: bytes) -> bytes:
        signature = self._key.sign(document, padding.PKCS1v15(), hashes.SHA256())
        # In lines, as the metadata service gives it.
        return base64.encodebytes(signature)


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signer, Signer, Signer]:
    folder = tmp_path_factory.mktemp("signers")
    return Signer(folder, "frankfurt"), Signer(folder, "ireland"), Signer(folder, "mallory")


def documents(*signers: Signer, **settings: object) -> AwsDocuments:
    values: dict[str, object] = {"accounts": (ACCOUNT,), **settings}
    certificates = tuple(str(signer.certificate) for signer in signers)
    return AwsDocuments.open(AwsIdentity(certificates=certificates, **values))  # type: ignore[arg-type]


@pytest.mark.req("CP-079")
def test_a_signed_document_says_who_the_instance_is(signers: tuple[Signer, Signer, Signer]) -> None:
    one, two, _ = signers
    book = documents(one, two)
    for signer in (one, two):
        assert book(signer.proof(), Instant(THEN + 59 * MINUTE)) == Vouched(
            instance_id="i-0123456789abcdef0",  # type: ignore[arg-type]
            arn=f"arn:aws:ec2:eu-central-1:{ACCOUNT}:instance/i-0123456789abcdef0",
            zone="eu-central-1b",
        )


def test_what_nobody_signed_is_not_believed(signers: tuple[Signer, Signer, Signer]) -> None:
    one, _, mallory = signers
    book = documents(one)
    good = one.proof()
    changed = good.document.replace(b"i-0123456789abcdef0", b"i-0123456789abcdef1")
    for wrong in (
        mallory.proof(),
        ProviderProof(provider="aws", document=changed, signature=good.signature),
        ProviderProof(provider="aws", document=good.document + b"\n", signature=good.signature),
        ProviderProof(provider="aws", document=good.document, signature=b""),
        ProviderProof(provider="aws", document=good.document, signature=b"\xff not base64"),
        ProviderProof(provider="aws", document=good.document, signature=base64.b64encode(b"x" * 256)),
    ):
        with pytest.raises(Unauthenticated) as refused:
            book(wrong, THEN)
        assert refused.value.reason == "IdentityDocumentInvalid"


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b"\xff", b'{"instanceId": "i-1"}', json.dumps({**FACTS, "instanceId": "web-1"}).encode(),
        json.dumps({**FACTS, "pendingTime": "yesterday"}).encode(), json.dumps({**FACTS, "region": 7}).encode(),
        json.dumps({**FACTS, "pendingTime": "2024-05-01T12:00:00"}).encode(),
    ],
)  # fmt: skip
def test_what_is_signed_and_is_no_document_is_refused(
    signers: tuple[Signer, Signer, Signer], text: bytes
) -> None:
    signature = signers[0].signature(text)
    with pytest.raises(Unauthenticated, match="it is signed, and no instance identity document"):
        documents(signers[0])(ProviderProof(provider="aws", document=text, signature=signature), THEN)


@pytest.mark.parametrize("late_ms", [-6 * MINUTE, 60 * MINUTE + 1, 400 * 86_400_000])
def test_a_document_that_is_old_or_of_the_future_is_refused(
    signers: tuple[Signer, Signer, Signer], late_ms: int
) -> None:
    with pytest.raises(Denied, match="launched at 2024-05-01T12:00:00") as refused:
        documents(signers[0])(signers[0].proof(), Instant(THEN + late_ms))
    assert refused.value.reason == "IdentityDocumentTooOld"
    for soon in (-5 * MINUTE, 0, 60 * MINUTE):
        documents(signers[0])(signers[0].proof(), Instant(THEN + soon))
    longer = documents(signers[0], maximum_age=500 * 86_400_000)
    if late_ms > 0:
        longer(signers[0].proof(), Instant(THEN + late_ms))


def test_instances_of_others_and_of_elsewhere_are_refused(signers: tuple[Signer, Signer, Signer]) -> None:
    book = documents(signers[0], regions=("eu-west-1",))
    for proof, reason in (
        (signers[0].proof(accountId="210987654321", region="eu-west-1"), "ProviderAccountNotAllowed"),
        (signers[0].proof(), "ProviderRegionNotAllowed"),
    ):
        with pytest.raises(Denied) as refused:
            book(proof, THEN)
        assert refused.value.reason == reason
    book(signers[0].proof(region="eu-west-1"), THEN)


def test_settings_that_would_let_in_everybody_or_nobody_are_refused_at_the_start(
    signers: tuple[Signer, Signer, Signer], tmp_path: Path
) -> None:
    assert trusted_providers(AwsIdentity()) == {}
    with pytest.raises(SetupError, match="name your accounts"):
        documents(signers[0], accounts=())
    with pytest.raises(SetupError, match="cannot read .*absent.pem"):
        AwsDocuments.open(AwsIdentity(certificates=(str(tmp_path / "absent.pem"),), accounts=(ACCOUNT,)))
    for content in (b"no certificate", self_signed(ec.generate_private_key(ec.SECP256R1()))):
        (tmp_path / "wrong.pem").write_bytes(content)
        with pytest.raises(SetupError, match="wrong.pem"):
            AwsDocuments.open(AwsIdentity(certificates=(str(tmp_path / "wrong.pem"),), accounts=(ACCOUNT,)))
    assert set(
        trusted_providers(AwsIdentity(certificates=(str(signers[0].certificate),), accounts=(ACCOUNT,)))
    ) == {"aws"}
