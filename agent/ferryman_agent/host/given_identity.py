"""An identity from certificate and key files that somebody put here, instead of an enrolment (AG-081)."""

from __future__ import annotations

from pathlib import Path

from ferryman_agent.core.messages import Instant
from ferryman_agent.errors import IdentityError
from ferryman_agent.host.enrolment import parse_address
from ferryman_agent.host.identity import Identity
from ferryman_agent.host.on_premises import OwnIdentity, read_private

INSTANCE_URI = "ferryman:instance:"


def take_over(own: OwnIdentity, now: Instant) -> Identity:
    """Returns the identity in the files that `own` names; its coordinator is the agents' port. Raises IdentityError."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    if own.cert_file is None or own.key_file is None or own.ca_file is None:
        raise IdentityError("the identity file names no certificate, key and CA")
    host, port = parse_address(own.coordinator)
    chain, key = _content(own.cert_file, "certificate"), _secret(own.key_file)
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise IdentityError(
            f"{own.cert_file} and {own.key_file} are no PEM certificate of an agent and its key"
        ) from error
    ids = [uri.removeprefix(INSTANCE_URI) for uri in uris if uri.startswith(INSTANCE_URI)]
    if not ids:
        raise IdentityError(
            f"the certificate {own.cert_file} names no instance: it was not made for an agent"
        )
    if leaf.public_key() != private.public_key():
        raise IdentityError(f"the key {own.key_file} is not that of the certificate {own.cert_file}")
    begins, ends = (
        round(at.timestamp() * 1000) for at in (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    )
    if not begins <= now < ends:
        raise IdentityError(
            f"the certificate {own.cert_file} is not valid now: {leaf.not_valid_after_utc} was its end"
        )
    return Identity(
        instance_id=ids[0],
        instance_name=own.host_name,
        host=host,
        agents_port=port,
        private_key=key.decode("ascii", errors="replace"),
        certificate_chain=chain.decode("ascii", errors="replace"),
        ca_certificates=_content(own.ca_file, "CA").decode("ascii", errors="replace"),
        issued_at=Instant(begins),
        expires_at=Instant(ends),
    )


def _content(path: Path, what: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IdentityError(f"cannot read the {what} file {path}: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise IdentityError(f"the {what} file {path} holds no PEM certificate")
    return content


def _secret(path: Path) -> bytes:
    content = read_private(path, "key file")
    if content is None:
        raise IdentityError(f"cannot read the key file {path}: there is no such file")
    return content
