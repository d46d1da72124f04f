"""The authority: made once, kept safely, signs what was asked for under names of its own choice."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.errors import Invalid, SetupError
from ferryman_coordinator.identity import certificates
from ferryman_coordinator.identity.authority import Authority

NOW = Instant(1_700_000_000_000)
DAY = 86_400_000
WEB = InstanceId("mi-0123456789abcdef0")


def authority(folder: Path, lifetime_ms: int = 3650 * DAY) -> Authority:
    return Authority.open(folder, NOW, lifetime_ms)


def request(key: object = None, name: str = "whatever") -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = builder.sign(key, algorithm)  # type: ignore[arg-type]  # weak keys are the point of some tests
    return signed.public_bytes(serialization.Encoding.PEM)


def test_the_first_start_makes_it_and_later_ones_find_it(tmp_path: Path) -> None:
    first = authority(tmp_path / "ca")
    assert authority(tmp_path / "ca").fingerprint == first.fingerprint
    certificate = x509.load_pem_x509_certificate(first.certificate_pem)
    assert certificate.fingerprint(hashes.SHA256()).hex() == first.fingerprint
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints == x509.BasicConstraints(ca=True, path_length=0)


def test_its_key_is_for_its_owner_only(tmp_path: Path) -> None:
    authority(tmp_path / "ca")
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "ca" / "ca.key").stat().st_mode) == 0o600


@pytest.mark.req("PF-273")
def test_an_agent_gets_the_name_that_the_coordinator_chose(tmp_path: Path) -> None:
    signed = authority(tmp_path).sign_request(request(name="admin"), WEB, NOW, 7 * DAY)
    leaf = x509.load_pem_x509_certificate(signed.chain)
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == WEB
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"ferryman:instance:{WEB}"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert signed.serial == f"{leaf.serial_number:x}"
    assert signed.expires_at == NOW + 7 * DAY == certificates.expiry(leaf)
    authority_certificate = x509.load_pem_x509_certificate(authority(tmp_path).certificate_pem)
    leaf.verify_directly_issued_by(authority_certificate)


def test_a_peer_whose_clock_is_a_little_behind_accepts_a_new_certificate(tmp_path: Path) -> None:
    leaf = x509.load_pem_x509_certificate(authority(tmp_path).sign_request(request(), WEB, NOW, DAY).chain)
    assert leaf.not_valid_before_utc.timestamp() * 1000 == NOW - 5 * 60_000


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    short = authority(tmp_path, lifetime_ms=30 * DAY)
    signed = short.sign_request(request(), WEB, Instant(NOW + 29 * DAY), 7 * DAY)
    assert signed.expires_at == NOW + 30 * DAY


def test_every_certificate_has_a_serial_of_its_own(tmp_path: Path) -> None:
    ours, source = authority(tmp_path), request()
    assert len({ours.sign_request(source, WEB, NOW, DAY).serial for _ in range(5)}) == 5


def tampered() -> bytes:
    der = bytearray(x509.load_pem_x509_csr(request()).public_bytes(serialization.Encoding.DER))
    der[der.index(b"whatever")] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)


def weakly_signed() -> bytes:
    """Says that it is signed with SHA-224: the library that makes requests refuses what is weaker than SHA-256."""
    der = x509.load_pem_x509_csr(request()).public_bytes(serialization.Encoding.DER)
    sha256, sha224 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040301")
    return x509.load_der_x509_csr(der.replace(sha256, sha224)).public_bytes(serialization.Encoding.PEM)


@pytest.mark.req("AG-096")
@pytest.mark.parametrize(
    "source,why",
    [
        (weakly_signed(), "not signed with SHA-256"),
        (b"", "cannot be read"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "cannot be read"),
        (b"x" * 20_000, "20000 bytes"),
        (tampered(), "signature does not fit"),
        (request(rsa.generate_private_key(65537, 1024)), "key must be"),
        (request(ed25519.Ed25519PrivateKey.generate()), "key must be"),
        (request(ec.generate_private_key(ec.SECP224R1())), "key must be"),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(tmp_path: Path, source: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        authority(tmp_path).sign_request(source, WEB, NOW, DAY)
    assert caught.value.reason == "InvalidCertificateSigningRequest"


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)]
)
def test_other_strong_keys_are_fine(tmp_path: Path, key: object) -> None:
    assert authority(tmp_path).sign_request(request(key), WEB, NOW, DAY).serial


@pytest.mark.parametrize("missing,other", [("ca.pem", "ca.key"), ("ca.key", "ca.pem")])
def test_half_an_authority_is_never_replaced(tmp_path: Path, missing: str, other: str) -> None:
    authority(tmp_path)
    before = (tmp_path / other).read_bytes()
    (tmp_path / missing).unlink()
    with pytest.raises(SetupError, match=f"{missing} is missing while .*{other} is there: restore it"):
        authority(tmp_path)
    assert (tmp_path / other).read_bytes() == before


def test_a_damaged_authority_is_never_replaced(tmp_path: Path) -> None:
    authority(tmp_path)
    (tmp_path / "ca.pem").write_bytes(b"nonsense")
    with pytest.raises(SetupError, match="restore it from a backup"):
        authority(tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() == b"nonsense"


def test_a_key_of_another_authority_is_noticed(tmp_path: Path) -> None:
    authority(tmp_path / "a")
    authority(tmp_path / "b")
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(SetupError, match="does not belong to"):
        authority(tmp_path / "a")


def test_an_expired_authority_says_so(tmp_path: Path) -> None:
    authority(tmp_path, lifetime_ms=30 * DAY)
    with pytest.raises(SetupError, match="expired on 2023-12-14"):
        Authority.open(tmp_path, Instant(NOW + 31 * DAY), 30 * DAY)
