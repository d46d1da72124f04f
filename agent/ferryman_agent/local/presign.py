"""A signature of its own for one GET of one object in S3 (AWS Signature Version 4, in the query). Pure.

The agent has no AWS library (D16), and its coordinator signs for it; a local deployment has no coordinator.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from ferryman_agent.core.messages import S3Object

DEFAULT_REGION = "us-east-1"
VALID_SECONDS = 3600
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A key pair, and the token of a temporary one."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


def presigned(
    thing: S3Object,
    credentials: Credentials,
    *,
    now: datetime,
    region: str = DEFAULT_REGION,
    endpoint: str = "",
    valid_seconds: int = VALID_SECONDS,
) -> str:
    """Returns an address that fetches the object and needs nothing else, for so long.

    `now` is in UTC. `endpoint` is `https://host[:port]` of a store that is not Amazon's; it is asked path-style.
    """
    base, host, path = _address(thing, region, endpoint)
    scope = f"{now:%Y%m%d}/{region}/s3/aws4_request"
    values = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
        "X-Amz-Expires": str(valid_seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token:
        values["X-Amz-Security-Token"] = credentials.token
    if thing.version:
        values["versionId"] = thing.version
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(values.items())
    )
    request = f"GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{now:%Y%m%dT%H%M%SZ}\n{scope}\n{digest}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"{base}{path}?{query}&X-Amz-Signature={signature}"


def _address(thing: S3Object, region: str, endpoint: str) -> tuple[str, str, str]:
    """Returns scheme and host, host alone, and the path as it is signed and asked for."""
    key = quote(thing.key, safe="/~")
    if endpoint:
        base = endpoint.rstrip("/")
        return base, base.partition("://")[2], f"/{thing.bucket}/{key}"
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    regional = f"s3.{domain}" if region == DEFAULT_REGION else f"s3.{region}.{domain}"
    if "." in thing.bucket or thing.bucket.lower() != thing.bucket or "_" in thing.bucket:
        # No certificate covers such a name before the host.
        return f"https://{regional}", regional, f"/{thing.bucket}/{key}"
    host = f"{thing.bucket}.{regional}"
    return f"https://{host}", host, f"/{key}"
