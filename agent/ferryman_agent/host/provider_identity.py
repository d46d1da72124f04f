"""What the provider of a cloud machine says about it: its identity document and the signature, for the enrolment.

Amazon EC2 is asked in its second way (IMDSv2): a token first. Never through a proxy: the address is this machine's own.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ferryman_agent.errors import IdentityError

AWS = "aws"
PROVIDERS = (AWS,)

ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""Amazon's own tools read it as well."""

_ENDPOINT = "http://169.254.169.254"
_SECONDS = 5.0
_SIZE_LIMIT = 16 * 1024
_LIFE_SECONDS = 60
_FOLDER = "/latest/dynamic/instance-identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderIdentity:
    """`document` and `signature` byte for byte as they came; `instance_id` is what the document says."""

    provider: str
    instance_id: str
    document: bytes
    signature: bytes


def ask(provider: str, environment: Mapping[str, str]) -> ProviderIdentity:
    """Returns what the provider's metadata service says. Blocks for seconds. Raises IdentityError."""
    if provider != AWS:
        raise IdentityError(f"{provider!r} is no provider that can be asked: use {', '.join(PROVIDERS)}")
    address = environment.get(ENDPOINT_VARIABLE) or _ENDPOINT
    connection = http.client.HTTPConnection(*_place(address), timeout=_SECONDS)
    try:
        token = _read(
            connection,
            "PUT",
            "/latest/api/token",
            {"X-aws-ec2-metadata-token-ttl-seconds": str(_LIFE_SECONDS)},
        )
        headers = {"X-aws-ec2-metadata-token": token.decode("ascii").strip()}
        document = _read(connection, "GET", f"{_FOLDER}/document", headers)
        signature = _read(connection, "GET", f"{_FOLDER}/signature", headers)
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise IdentityError(
            f"the metadata service at {address} does not say who this machine is: {why}. On another machine than one of"
            " Amazon EC2 enroll with a join token, and without --provider"
        ) from error
    finally:
        connection.close()
    return ProviderIdentity(
        provider=AWS, instance_id=_instance_id(document, address), document=document, signature=signature
    )


def _place(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port, scheme = parts.hostname, parts.port, parts.scheme
    except ValueError:
        host, port, scheme = None, None, ""
    if scheme != "http" or not host:
        raise IdentityError(
            f"{ENDPOINT_VARIABLE}={address!r} is no address: write http://HOST or http://HOST:PORT"
        )
    return host, port or 80


def _read(connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]) -> bytes:
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    content = response.read(_SIZE_LIMIT + 1)
    if response.status != 200:
        raise http.client.HTTPException(f"it answers {response.status} to {method} {path}")
    if len(content) > _SIZE_LIMIT:
        raise http.client.HTTPException(f"its answer to {path} is larger than 16 KiB")
    return content


def _instance_id(document: bytes, address: str) -> str:
    try:
        found = json.loads(document)["instanceId"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or not found.isprintable():
        raise IdentityError(f"the metadata service at {address} gives no identity document of an instance")
    return found
