"""Instance identity documents of Amazon EC2, with their RSA signature (SHA-256, PKCS #1 v1.5).

What one proves: Amazon says that this instance of this account was launched then. It does not prove who sent it, or
when it was read: whoever could ask the metadata service of that instance can have a copy. Hence the limit on its age,
and hence an id enrols by its document only once (`operations/enrolment.py`). The document is not bound to the key that
is certified, since Amazon signs nothing that the instance could put in.

Of the three signatures that Amazon gives, this one needs no CMS parser in front of a stranger's bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ferryman_coordinator.config.schema import AwsIdentity
from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.core.provider_identity import ProviderProof, Vouched, is_provider_id
from ferryman_coordinator.errors import Denied, SetupError, Unauthenticated

NAME = "aws"

_SKEW_MS = 5 * 60_000
_LEAST_BITS = 1024
"""Amazon's own keys for this signature have no more in most regions."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What counts in a document; whatever else it holds is signed as well, and not looked at."""

    instanceId: str  # noqa: N815  # Amazon's spelling
    accountId: str  # noqa: N815
    region: str
    pendingTime: datetime  # noqa: N815
    availabilityZone: str = ""  # noqa: N815


class AwsDocuments:
    """Believes documents that are signed with one of its certificates, of its accounts, and young enough."""

    def __init__(self, keys: Sequence[rsa.RSAPublicKey], settings: AwsIdentity) -> None:
        self._keys = tuple(keys)
        self._settings = settings

    @classmethod
    def open(cls, settings: AwsIdentity) -> AwsDocuments:
        """Reads the certificates. Raises SetupError."""
        if not settings.accounts:
            raise SetupError(
                "aws_identity.certificates without aws_identity.accounts would let in the instances of everybody: name"
                " your accounts"
            )
        return cls([key for path in settings.certificates for key in _read(Path(path))], settings)

    def __call__(self, proof: ProviderProof, now: Instant) -> Vouched:
        """See `Vouch`."""
        self._demand_signature(proof)
        try:
            document = _decoder.decode(proof.document)
            launched = Instant(round(document.pendingTime.timestamp() * 1000))
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            raise _invalid("it is signed, and no instance identity document") from error
        instance_id = document.instanceId
        if document.pendingTime.tzinfo is None or not is_provider_id(instance_id):
            raise _invalid("it is signed, and no instance identity document")
        settings = self._settings
        if document.accountId not in settings.accounts:
            raise Denied(
                "ProviderAccountNotAllowed",
                f"instance {instance_id} is of the account {document.accountId[:20]!r}, which is not among"
                " `aws_identity.accounts`",
            )
        if settings.regions and document.region not in settings.regions:
            raise Denied(
                "ProviderRegionNotAllowed",
                f"instance {instance_id} is in the region {document.region[:40]!r}, which is not among"
                " `aws_identity.regions`",
            )
        if not -_SKEW_MS <= now - launched <= settings.maximum_age:
            raise Denied(
                "IdentityDocumentTooOld",
                f"instance {instance_id} was launched at {document.pendingTime.isoformat()}, and enrols by its document"
                f" only within {settings.maximum_age // 60_000} min from then: enrol it with a join token, or raise"
                " `aws_identity.maximum_age`",
            )
        return Vouched(
            instance_id=InstanceId(instance_id),
            arn=f"arn:aws:ec2:{document.region}:{document.accountId}:instance/{instance_id}",
            zone=document.availabilityZone,
        )

    def _demand_signature(self, proof: ProviderProof) -> None:
        try:
            signature = base64.b64decode(b"".join(proof.signature.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid("its signature is not in base64") from error
        for key in self._keys:
            try:
                key.verify(signature, proof.document, padding.PKCS1v15(), hashes.SHA256())
            except InvalidSignature:
                continue
            return
        raise _invalid(
            "its signature is that of none of `aws_identity.certificates`; Amazon has one for each region, and this is"
            " about the RSA one of the base64 signature"
        )


def _read(path: Path) -> Sequence[rsa.RSAPublicKey]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise SetupError(f"cannot read {path} (aws_identity.certificates): {error.strerror}") from error
    except ValueError as error:
        raise SetupError(f"{path} (aws_identity.certificates) holds no PEM certificate") from error
    keys = []
    for certificate in found:
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _LEAST_BITS:
            raise SetupError(
                f"{path} (aws_identity.certificates) holds another key than RSA: use the certificate for the base64"
                " signature"
            )
        keys.append(key)
    return keys


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(
        "IdentityDocumentInvalid", f"the instance identity document is not believed: {why}"
    )


_decoder = msgspec.json.Decoder(Document)
