"""Addresses by which agents fetch bundles: they carry their own permission, so the HTTP door needs no identity."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import Denied, SetupError
from ferryman_coordinator.keyfiles import SECRET, read_file, write_file

_KEY_BYTES = 32
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EXPIRES = re.compile(r"[0-9]{1,16}", re.ASCII)


class BundleUrls:
    """Signs paths of the coordinator's HTTP address and believes them again until they expire."""

    def __init__(self, key: bytes, lifetime_ms: int) -> None:
        self._key = key
        self._lifetime_ms = lifetime_ms

    @classmethod
    def open(cls, path: Path, lifetime_ms: int) -> BundleUrls:
        """Uses the key in the file `path`, or makes one; so addresses outlive a restart. Raises SetupError."""
        key = read_file(path)
        if key is None:
            key = secrets.token_bytes(_KEY_BYTES)
            write_file(path, key, SECRET)
        if len(key) != _KEY_BYTES:
            raise SetupError(f"{path} is damaged: remove it, then a new one is made")
        return cls(key, lifetime_ms)

    def sign(self, sha256: str, now: Instant) -> str:
        """Returns `/bundles/<sha256>?expires=…&signature=…`, good for the configured time; milliseconds inside."""
        expires = now + self._lifetime_ms
        return f"/bundles/{sha256}?expires={expires}&signature={self._signature(sha256, expires)}"

    def verify(self, sha256: str, expires: str, signature: str, now: Instant) -> None:
        """Raises Denied: `InvalidSignature` for a forged address, `UrlExpired` for an old one."""
        is_well_formed = _EXPIRES.fullmatch(expires) and _SIGNATURE.fullmatch(signature)
        if not is_well_formed or not hmac.compare_digest(self._signature(sha256, int(expires)), signature):
            raise Denied(
                "InvalidSignature", "this bundle address was not made by this coordinator, or it was changed"
            )
        if int(expires) <= now:
            raise Denied(
                "UrlExpired",
                "this bundle address has expired; the command that brought it brings a fresh one",
            )

    def _signature(self, sha256: str, expires: int) -> str:
        return hmac.new(self._key, f"GET\n/bundles/{sha256}\n{expires}".encode(), hashlib.sha256).hexdigest()
