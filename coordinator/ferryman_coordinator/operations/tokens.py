"""Access tokens, which let people and tools in.

A token's text is shown once; the store keeps only the digest of its secret.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.inventory import Caller
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import tokens as queries
from ferryman_coordinator.store.store import Store

ACCESS_PREFIX = "ferryman-access-1-"
ADMIN = "admin"


class AccessTokens:
    """Who is let in by a bearer token."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def ensure_admin(self, keep: Callable[[str], None]) -> bool:
        """On the first start make the administrators' token and let `keep` put its text away; False later on.

        `keep` is called before the token becomes valid: after a crash in between, the next start does both again.
        """
        async with self._store.reading() as connection:
            if await queries.has_access_token(connection, ADMIN):
                return False
        await self.add_admin(keep)
        return True

    async def add_admin(self, keep: Callable[[str], None]) -> None:
        """Makes one more administrators' token, for when the text of the last one is lost; older ones stay valid."""
        text = ACCESS_PREFIX + self._ids.secret()
        keep(text)
        batch = Batch()
        batch.insert(
            tables.access_tokens,
            {
                "token_id": self._ids.guid(),
                "digest": digest_of(text),
                "name": ADMIN,
                "created_at": self._clock.now(),
            },
        )
        await self._store.write(batch)

    async def authenticate(self, text: str) -> Caller | None:
        """Whose token that is; None when nobody's, or when it is revoked or expired."""
        digest = digest_of(text)
        async with self._store.reading() as connection:
            found = await queries.access_token(connection, digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            return None
        is_expired = found.expires_at is not None and found.expires_at <= self._clock.now()
        return None if is_expired or found.revoked_at is not None else found.caller


def digest_of(secret: str) -> str:
    """What is stored of the secret of a token, of either kind."""
    # 256 random bits need no salt and no slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()
