"""How the texts of credentials look and what is kept of them, and the token of the first administrator (PF-247).

A text is shown once; the store keeps only its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.inventory import TokenId
from ferryman_coordinator.core.resources import EVERYTHING
from ferryman_coordinator.core.roles import RoleName
from ferryman_coordinator.core.users import ADMIN, AccessToken, CredentialKind, Grant, User, UserId, UserKind
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.identity_records import grant_row, token_row, user_row
from ferryman_coordinator.store.queries import identity as queries
from ferryman_coordinator.store.store import Store

ACCESS_PREFIX = "ferryman-access-1-"
SESSION_PREFIX = "ferryman-session-1-"

KEY_PREFIX = "FKIA"
TEMPORARY_KEY_PREFIX = "FSIA"
"""Of access keys, lasting and temporary: four letters, then sixteen more, as CodeDeploy's clients know it."""

_ADMIN_ID = UserId(ADMIN)


class FirstAdministrator:
    """The user that the first start makes, and its token. That one does not expire: it is the way in."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, forget: Callable[[], None]) -> None:
        """`forget` is called when what is remembered of callers is out of date."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._forget = forget

    async def ensure(self, keep: Callable[[str], None]) -> bool:
        """On the first start make user and token and let `keep` put the text away; False later on.

        `keep` is called before the token becomes valid: after a crash in between, the next start does both again.
        """
        async with self._store.reading() as connection:
            has_user = await queries.user_by_id(connection, _ADMIN_ID) is not None
            has_token = await queries.has_token(connection, _ADMIN_ID)
        if not has_user:
            await self._add_user()
        if has_token:
            return False
        await self.add_token(keep)
        return True

    async def is_disabled(self) -> bool:
        """Whether somebody with a name of their own has taken over."""
        async with self._store.reading() as connection:
            user = await queries.user_by_id(connection, _ADMIN_ID)
        return user is not None and not user.is_enabled

    async def add_token(self, keep: Callable[[str], None]) -> None:
        """Makes one more token, for when the text of the last one is lost; older ones stay valid."""
        text = ACCESS_PREFIX + self._ids.secret()
        keep(text)
        token = AccessToken(
            token_id=TokenId(self._ids.guid()),
            user_id=_ADMIN_ID,
            kind=CredentialKind.TOKEN,
            name="admin.token",
            created_at=self._clock.now(),
            expires_at=None,
        )
        batch = Batch()
        batch.insert(tables.access_tokens, token_row(token, digest_of(text)))
        await self._store.write(batch)
        self._forget()

    async def _add_user(self) -> None:
        now = self._clock.now()
        user = User(
            user_id=_ADMIN_ID,
            name=ADMIN,
            kind=UserKind.PERSON,
            description="Made by the first start.",
            created_at=now,
            created_by="ferryman",
        )
        grant = Grant(
            role_name=RoleName.ADMIN, resources=(EVERYTHING,), created_at=now, created_by="ferryman"
        )
        batch = Batch()
        batch.insert(tables.users, user_row(user))
        batch.insert(tables.grants, grant_row(_ADMIN_ID, grant))
        await self._store.write(batch)
        self._forget()


def digest_of(secret: str) -> str:
    """What is stored of the secret of a token, of any kind: SHA-256 in hexadecimal."""
    # 256 random bits need no salt and no slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()
