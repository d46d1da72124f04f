"""Builds and reads X.509: the authority's own certificate, the server's, and those of agents.

Elliptic curve P-256 throughout: small, quick to sign, and spoken by every TLS library. Time comes in as an argument.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.errors import Invalid

INSTANCE_URI = "ferryman:instance:"
"""Prefix of the URI by which an agent's certificate names its instance."""

_CURVES = ("secp256r1", "secp384r1")

REQUEST_LIMIT = 16 * 1024
"""Bytes of a certificate signing request."""

AgentKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
"""What an agent may bring along."""

SKEW_MS = 5 * 60_000
"""Certificates are valid from this long before they are made, for peers whose clock is behind (PF-284)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate with its key. `chain` is what goes over the wire: the leaf first, then who signed it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: bytes

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def serial_text(certificate: x509.Certificate) -> str:
    """Lower-case hexadecimal, as the store keeps it."""
    return f"{certificate.serial_number:x}"


def expiry(certificate: x509.Certificate) -> Instant:
    return Instant(int(certificate.not_valid_after_utc.timestamp() * 1000))


def is_due(certificate: x509.Certificate, now: Instant) -> bool:
    """Whether two thirds of its life are over: time to renew."""
    begin = int(certificate.not_valid_before_utc.timestamp() * 1000) + SKEW_MS
    return now >= begin + (expiry(certificate) - begin) * 2 // 3


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the whole certificate, in lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def make_authority(now: Instant, lifetime_ms: int) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A new self-signed authority. It signs leaves only."""
    key = new_key()
    name = _name(
        f"Ferryman CA {x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]}"
    )
    builder = (
        _builder(name, name, key.public_key(), key.public_key(), now, lifetime_ms)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return builder.sign(key, hashes.SHA256()), key


def make_server_certificate(
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    names: Iterable[str],
    now: Instant,
    lifetime_ms: int,
) -> KeyPair:
    """A certificate for the coordinator under all those names, which may be addresses. The first is its subject."""
    key = new_key()
    names = list(names)
    builder = (
        _builder(_name(names[0]), issuer.subject, key.public_key(), issuer_key.public_key(), now, lifetime_ms)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
    )
    certificate = builder.sign(issuer_key, hashes.SHA256())
    # With the root, although clients have it: who enrols by fingerprint gets it from here.
    return KeyPair(certificate=certificate, key=key, chain=pem(certificate) + pem(issuer))


def make_agent_certificate(
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    agent_key: AgentKey,
    instance_id: InstanceId,
    now: Instant,
    lifetime_ms: int,
) -> x509.Certificate:
    """An agent's certificate: the key is its own, the names are ours (PF-273)."""
    builder = (
        _builder(_name(instance_id), issuer.subject, agent_key, issuer_key.public_key(), now, lifetime_ms)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(INSTANCE_URI + instance_id)]),
            critical=False,
        )
    )
    return builder.sign(issuer_key, hashes.SHA256())


def requested_key(source: bytes) -> AgentKey:
    """Returns the key of a PEM request, having checked that who made the request holds it and that it is strong enough.

    Raises Invalid.
    """
    if len(source) > REQUEST_LIMIT:
        raise _bad_request(f"it has {len(source)} bytes, more than {REQUEST_LIMIT}")
    try:
        request = x509.load_pem_x509_csr(source)
        key = request.public_key()
        is_signed, digest = request.is_signature_valid, request.signature_hash_algorithm
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise _bad_request("it cannot be read as a PEM request") from error
    if digest is not None and not isinstance(digest, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        raise _bad_request("it is not signed with SHA-256, SHA-384 or SHA-512")
    if not is_signed:
        raise _bad_request("its signature does not fit its key")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 8192:
        return key
    raise _bad_request("its key must be of the curve P-256 or P-384, or RSA with 2048 to 8192 bits")


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Its DNS names and addresses."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = {str(address) for address in extension.get_values_for_type(x509.IPAddress)}
    return frozenset(extension.get_values_for_type(x509.DNSName)) | addresses


def _bad_request(why: str) -> Invalid:
    return Invalid("InvalidCertificateSigningRequest", f"cannot use the certificate signing request: {why}")


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ferryman"),
            # The standard allows 64 characters; the names that count are in the extension.
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: AgentKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: Instant,
    lifetime_ms: int,
) -> x509.CertificateBuilder:
    begin = datetime.datetime.fromtimestamp(now / 1000, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - datetime.timedelta(milliseconds=SKEW_MS))
        .not_valid_after(begin + datetime.timedelta(milliseconds=lifetime_ms))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _usage(*, signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
