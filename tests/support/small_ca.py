"""A certificate authority of a few lines, for tests that need one of their own to sign requests."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True, slots=True)
class Signed:
    """PEM chain, leaf first, and PEM key where it was made here."""

    chain: bytes
    key: bytes
    expires_at: int


_SKEW = datetime.timedelta(minutes=-5)


class SmallCa:
    """ECDSA P-256, good for a day."""

    def __init__(self, name: str = "small test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key.public_key(), datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        self.fingerprint = hashlib.sha256(der).hexdigest()

    def server(self, *names: str, begin: datetime.timedelta = _SKEW) -> Signed:
        """A server's certificate with its key; the chain ends with the CA itself, as a coordinator's does.

        It is valid from `begin` after now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [_general(name) for name in names]
        builder = self._builder(_named(names[0]), key.public_key(), datetime.timedelta(hours=12), begin)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return self._signed(builder, key)

    def sign(self, request_pem: bytes, name: str, lifetime_seconds: float = 3600, *, uri: str = "") -> Signed:
        """A certificate for whoever made the request, with `name` as its subject, and `uri` as another name."""
        request = x509.load_pem_x509_csr(request_pem)
        assert request.is_signature_valid
        lifetime = datetime.timedelta(seconds=lifetime_seconds)
        public_key = request.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        builder = self._builder(_named(name), public_key, lifetime)
        if uri:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
            builder = builder.add_extension(names, critical=False)
        return self._signed(builder, None)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        lifetime: datetime.timedelta,
        begin: datetime.timedelta = _SKEW,
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now + begin,
            not_valid_after=now + lifetime,
        )

    def _signed(self, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey | None) -> Signed:
        certificate = builder.sign(self._key, hashes.SHA256())
        private = b""
        if key is not None:
            private = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self.pem
        return Signed(chain, private, int(certificate.not_valid_after_utc.timestamp() * 1000))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
