"""The coordinator's certificate authority: made on the first start, kept in the data directory, signs leaves only.

Everything that is trusted in a Ferryman installation goes back to this one certificate: its fingerprint stands in
every join token. While it is rotated there are two (`rotation.py`): the server still shows a certificate of the old
one, which every agent trusts; agents get theirs from the new one, and the word to trust both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.identity import certificates, rotation
from ferryman_coordinator.identity.certificates import KeyPair
from ferryman_coordinator.keyfiles import READABLE, SECRET, make_private_folder, read_file, write_file


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCertificate:
    """An agent's new certificate. `chain` is PEM, leaf first; `serial` lower-case hexadecimal."""

    serial: str
    chain: bytes
    expires_at: Instant
    # Fingerprint of the authority that signed it.
    issuer: str


class Authority:
    """Made by `Authority.open`; `reload` takes up what became of its folder since."""

    def __init__(
        self,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        folder: Path | None = None,
        coming: KeyPair | None = None,
    ) -> None:
        """`coming` is the authority that takes this one's place, while both are trusted."""
        self._folder = folder
        self._certificate = certificate
        self._key = key
        self._coming = coming

    @property
    def certificate_pem(self) -> bytes:
        """All that is to be trusted: one certificate, two while it is rotated."""
        coming = b"" if self._coming is None else certificates.pem(self._coming.certificate)
        return certificates.pem(self._certificate) + coming

    @property
    def fingerprint(self) -> str:
        """Of the one that the server's certificate is of: SHA-256 in lower-case hexadecimal."""
        return certificates.fingerprint(self._certificate)

    @property
    def signer(self) -> str:
        """The fingerprint of the one that signs for agents."""
        return certificates.fingerprint(self._signing.certificate)

    @property
    def _signing(self) -> KeyPair:
        return self._coming or KeyPair(certificate=self._certificate, key=self._key, chain=b"")

    def reload(self, now: Instant) -> bool:
        """Whether anything is another than before. Raises SetupError, and stays as it was."""
        if self._folder is None:
            return False
        fresh = self.open(self._folder, now, 0)
        before = (self.certificate_pem, self.signer)
        self._certificate, self._key, self._coming = fresh._certificate, fresh._key, fresh._coming
        return before != (self.certificate_pem, self.signer)

    @classmethod
    def open(cls, folder: Path, now: Instant, lifetime_ms: int) -> Authority:
        """Reads the authority in `folder`, or makes one that lasts `lifetime_ms`. Raises SetupError.

        A damaged or half missing authority is never replaced: that would lock every agent out.
        """
        make_private_folder(folder)
        rotation.complete(folder)
        certificate_path, key_path = folder / "ca.pem", folder / "ca.key"
        certificate_pem, key_pem = read_file(certificate_path), read_file(key_path)
        if certificate_pem is None and key_pem is None:
            certificate, key = certificates.make_authority(now, lifetime_ms)
            authority = cls(certificate, key, folder)
            pair = KeyPair(certificate=certificate, key=key, chain=b"")
            write_file(key_path, pair.key_pem, SECRET)
            write_file(certificate_path, authority.certificate_pem, READABLE)
            return authority
        if certificate_pem is None or key_pem is None:
            missing, other = (
                (certificate_path, key_path) if certificate_pem is None else (key_path, certificate_path)
            )
            raise SetupError(
                f"{missing} is missing while {other} is there: restore it from a backup. To begin anew, with every"
                f" agent enrolling again, remove {other} as well"
            )
        return cls._read(folder, certificate_pem, key_pem, now)

    @classmethod
    def _read(cls, folder: Path, certificate_pem: bytes, key_pem: bytes, now: Instant) -> Authority:
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SetupError(
                f"cannot read the certificate authority in {folder}: restore it from a backup"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise SetupError(
                f"{folder}/ca.key does not belong to {folder}/ca.pem: restore both from one backup"
            )
        if certificates.expiry(certificate) <= now:
            raise SetupError(
                f"the certificate authority in {folder} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: move"
                " that directory away to make a new one, and enrol the agents again"
            )
        return cls(certificate, key, folder, rotation.coming(folder))

    def sign_request(
        self, request_pem: bytes, instance_id: InstanceId, now: Instant, lifetime_ms: int
    ) -> SignedCertificate:
        """Signs an agent's request; it ends with the authority at the latest. Raises Invalid."""
        agent_key = certificates.requested_key(request_pem)
        signing = self._signing
        longest_ms = min(lifetime_ms, certificates.expiry(signing.certificate) - now)
        certificate = certificates.make_agent_certificate(
            signing.certificate, signing.key, agent_key, instance_id, now, longest_ms
        )
        return SignedCertificate(
            serial=certificates.serial_text(certificate),
            chain=certificates.pem(certificate),
            expires_at=certificates.expiry(certificate),
            issuer=certificates.fingerprint(signing.certificate),
        )

    def make_server_certificate(self, names: Iterable[str], now: Instant, lifetime_ms: int) -> KeyPair:
        """A new certificate for the coordinator itself."""
        return certificates.make_server_certificate(
            self._certificate, self._key, names, now, self._at_most(now, lifetime_ms)
        )

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Whether this authority signed the certificate."""
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _at_most(self, now: Instant, lifetime_ms: int) -> int:
        return min(lifetime_ms, certificates.expiry(self._certificate) - now)
