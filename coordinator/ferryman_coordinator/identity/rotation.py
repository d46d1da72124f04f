"""Another certificate authority in the place of the present one, without an agent that loses its way.

`begin` lays the new one beside the old one (`next.pem`, `next.key`): from then on both are trusted, the new one signs
for agents, and the server's own certificate stays one of the old authority, since that is what agents trust so far.
`finish` puts the new one in its place. Each step can be cut off anywhere: the next look at the folder ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.identity import certificates
from ferryman_coordinator.identity.certificates import KeyPair
from ferryman_coordinator.keyfiles import READABLE, SECRET, read_file, sync_folder, write_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Fingerprints, SHA-256 in lower-case hexadecimal, of the old authority and the new one."""

    old: str
    new: str
    begun_at: Instant


def state(folder: Path) -> Rotation | None:
    """None when there is no rotation. Raises SetupError."""
    pair, old = coming(folder), read_file(folder / "ca.pem")
    if pair is None or old is None:
        return None
    begun = int(pair.certificate.not_valid_before_utc.timestamp() * 1000) + certificates.SKEW_MS
    return Rotation(
        old=certificates.fingerprint(x509.load_pem_x509_certificate(old)),
        new=certificates.fingerprint(pair.certificate),
        begun_at=Instant(begun),
    )


def begin(folder: Path, now: Instant, lifetime_ms: int) -> Rotation:
    """Raises SetupError: one is under way, or there is no authority."""
    complete(folder)
    if (present := state(folder)) is not None:
        raise SetupError(
            f"a rotation to the CA sha256:{present.new} is under way: see `rotate-ca --status`, then"
            " `rotate-ca --finish`"
        )
    if read_file(folder / "ca.pem") is None or read_file(folder / "ca.key") is None:
        raise SetupError(
            f"there is no certificate authority in {folder}: start the coordinator once to make one"
        )
    certificate, key = certificates.make_authority(now, lifetime_ms)
    pair = KeyPair(certificate=certificate, key=key, chain=b"")
    # The certificate last: it is what makes it a rotation.
    write_file(folder / "next.key", pair.key_pem, SECRET)
    write_file(folder / "next.pem", certificates.pem(certificate), READABLE)
    begun = state(folder)
    if begun is None:
        raise SetupError(f"cannot read the new certificate authority in {folder}")
    return begun


def finish(folder: Path) -> None:
    """The new authority is the only one from now on. Raises SetupError: there is no rotation."""
    if state(folder) is None:
        raise SetupError("no rotation of the CA is under way: begin one with `rotate-ca`")
    key = read_file(folder / "next.key")
    if key is None:
        raise SetupError(f"{folder / 'next.key'} is missing: restore it from a backup")
    # From here on there is no way back: `complete` goes on from whatever is done.
    write_file(folder / "ca.key", key, SECRET)
    complete(folder)


def complete(folder: Path) -> None:
    """Brings a `finish` that was cut off to its end; does nothing else. Raises SetupError."""
    key, coming_key, certificate = (read_file(folder / name) for name in ("ca.key", "next.key", "next.pem"))
    if coming_key is None or key != coming_key:
        return
    if certificate is not None:
        write_file(folder / "ca.pem", certificate, READABLE)
    # The key last: it says that there is something to bring to an end.
    try:
        (folder / "next.pem").unlink(missing_ok=True)
        sync_folder(folder)
        (folder / "next.key").unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(f"cannot tidy up {folder}: {error.strerror}") from error


def coming(folder: Path) -> KeyPair | None:
    """The authority that takes the place of the present one; None when there is none. Raises SetupError."""
    certificate_pem, key_pem = read_file(folder / "next.pem"), read_file(folder / "next.key")
    if certificate_pem is None:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem or b"", password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SetupError(f"cannot read {folder}/next.pem and next.key: restore both from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise SetupError(
            f"{folder}/next.key does not belong to {folder}/next.pem: restore both from one backup"
        )
    return KeyPair(certificate=certificate, key=key, chain=b"")
