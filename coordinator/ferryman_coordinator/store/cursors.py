"""Pages of lists: opaque tokens that say where the next page begins, and cannot be made up or used elsewhere.

Key-set paging: a token holds the sort key of the last item shown, so pages stay stable while rows come and go (CP-459).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ferryman_coordinator.errors import Invalid

Item = TypeVar("Item")

Key = tuple[str | int, ...]
"""Sort key of an item, as one list orders its items."""

DEFAULT_SIZE = 100
MAX_SIZE = 1000
_SEAL_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What a caller asks for: `size` 0 stands for the default; `token` from the previous page, or empty."""

    size: int = 0
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """`next_token` is empty on the last page."""

    items: tuple[Item, ...]
    next_token: str = ""


class Cursors:
    """Makes and reads page tokens; all coordinators on one database share the secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._hiding = hmac.digest(secret, b"hiding", hashlib.sha256)

    async def page(
        self,
        scope: Sequence[object],
        request: PageRequest,
        fetch: Callable[[Key | None, int], Awaitable[Sequence[Item]]],
        key: Callable[[Item], Key],
    ) -> Page[Item]:
        """One page of a list.

        `scope` names the list and its filters: a token fits only where it was made. `fetch(after, limit)` reads the
        items behind a key. Raises Invalid: InvalidNextTokenException, InvalidInputException.
        """
        size = _size(request.size)
        after = self.read(scope, request.token) if request.token else None
        items = await fetch(after, size + 1)
        if len(items) <= size:
            return Page(items=tuple(items))
        shown = items[:size]
        return Page(items=tuple(shown), next_token=self.token(scope, key(shown[-1])))

    def token(self, scope: Sequence[object], key: Key) -> str:
        """The token for what comes after the item with `key`."""
        payload = msgspec.json.encode(key)
        seal = self._seal(scope, payload)
        return _text(seal + self._hidden(seal, payload))

    def read(self, scope: Sequence[object], token: str) -> Key:
        """The key in a token; raises Invalid (InvalidNextTokenException) unless it was made here for `scope`."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        seal = raw[:_SEAL_BYTES].ljust(_SEAL_BYTES, b"\0")
        payload = self._hidden(seal, raw[_SEAL_BYTES:])
        is_ours = bool(payload) and hmac.compare_digest(seal, self._seal(scope, payload))
        if not is_ours or _text(raw) != token:
            raise Invalid(
                "InvalidNextTokenException",
                "the page token does not belong to this list with these filters: start again without a token",
            )
        return msgspec.json.decode(payload, type=Key)

    def _hidden(self, seal: bytes, payload: bytes) -> bytes:
        """A payload made unreadable, or readable again: a page may end at something that its caller may not see."""
        cipher = Cipher(algorithms.AES(self._hiding), modes.CTR(seal)).encryptor()
        return cipher.update(payload) + cipher.finalize()

    def _seal(self, scope: Sequence[object], payload: bytes) -> bytes:
        where = msgspec.json.encode(scope, order="deterministic")
        whole = len(where).to_bytes(8, "big") + where + payload
        return hmac.digest(self._secret, whole, hashlib.sha256)[:_SEAL_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _size(asked: int) -> int:
    if not 0 <= asked <= MAX_SIZE:
        raise Invalid(
            "InvalidInputException",
            f"a page holds 1 to {MAX_SIZE} items, not {asked}; 0 means {DEFAULT_SIZE}",
        )
    return asked or DEFAULT_SIZE
