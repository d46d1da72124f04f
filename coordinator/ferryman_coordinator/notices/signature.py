"""How a webhook message proves where it comes from (CP-380). docs/operating/notifications.md shows how to check it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

EVENT_ID = "Ferryman-Event-Id"
DELIVERY_ID = "Ferryman-Delivery-Id"
EVENT_TYPE = "Ferryman-Event-Type"
TIMESTAMP = "Ferryman-Timestamp"
SIGNATURE = "Ferryman-Signature"

_VERSION = "v1"


def signature(secrets: Sequence[bytes], timestamp: int, body: bytes) -> str:
    """One `v1=HEX` for each secret: HMAC-SHA256 of the timestamp (seconds), a dot and the body as it is sent.

    The timestamp is part of it, so that nobody can send an old message again as a new one.
    """
    signed = f"{timestamp}.".encode() + body
    return ",".join(f"{_VERSION}={hmac.digest(secret, signed, hashlib.sha256).hex()}" for secret in secrets)
