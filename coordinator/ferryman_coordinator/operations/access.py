"""Who is let in: from a token or an access key to its user, and to what that user may do.

What was found is remembered for a few seconds, and forgotten with each change of users, roles or credentials here.
When a credential was last used is written once a minute, not with each call.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.rights import Rights, Scope
from ferryman_coordinator.core.users import (
    AccessToken,
    Caller,
    CredentialKind,
    KeyStatus,
    User,
    UserId,
)
from ferryman_coordinator.errors import StoreUnavailable
from ferryman_coordinator.operations.grants import statements_for
from ferryman_coordinator.operations.tokens import digest_of
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import identity as queries
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_REMEMBERED_MS = 5_000
"""Another coordinator on the same database may change something as well."""

_REMEMBERED = 10_000
_WRITE_USE_EVERY_MS = 60_000
_ENDED_KEPT_MS = 90 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A caller who was believed, and what it may do."""

    caller: Caller
    rights: Rights
    good_until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHolder:
    """Behind an access key: who, and the sealed secret that signatures are checked with."""

    admitted: Admitted
    sealed_secret: str
    # Whether the request must bring the session's token along.
    is_temporary: bool


class Access:
    """Remembers callers; tell `forget` of each change."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        # By what was shown: digest of a text, or id of a key; with the time until which it is believed unseen.
        self._known: dict[str, tuple[Instant, Admitted]] = {}
        self._generation = 0
        # By table and id: when, and from where.
        self._uses: dict[tuple[CredentialKind, str], tuple[Instant, str]] = {}

    def forget(self) -> None:
        """From now on everybody is looked up again."""
        self._generation += 1
        self._known.clear()

    async def authenticate(self, text: str, source: str = "") -> Admitted | None:
        """Whose token that is, or whose session; None when nobody's, revoked, expired, or of a disabled user."""
        digest = digest_of(text)
        admitted = self._remembered(digest)
        if admitted is None:
            generation = self._generation
            async with self._store.reading() as connection:
                admitted = await self._by_digest(connection, digest)
            if admitted is None:
                return None
            if generation == self._generation:
                self._remember(digest, admitted)
        self._used(admitted.caller, source)
        return admitted

    async def by_access_key(self, access_key_id: str, source: str = "") -> KeyHolder | None:
        """For a door where requests are signed: the holder of a key that may be used now (CP-440)."""
        async with self._store.reading() as connection:
            key = await queries.key(connection, access_key_id)
            if key is None or key.status is not KeyStatus.ACTIVE:
                return None
            if key.expires_at is not None and key.expires_at <= self._clock.now():
                return None
            if key.token_id:
                token = await queries.token_by_id(connection, key.token_id)
                if token is None or not await self._is_good(connection, token):
                    return None
            user = await queries.user_by_id(connection, key.user_id)
            if user is None or not user.is_enabled:
                return None
            caller = Caller(
                user_id=user.user_id,
                name=user.name,
                kind=user.kind,
                credential_kind=CredentialKind.ACCESS_KEY,
                credential_id=key.access_key_id,
                credential_since=key.created_at,
                issuer_id=key.token_id,
            )
            rights = await self._rights(connection, user.user_id, key.scope)
        self._used(caller, source)
        admitted = Admitted(caller=caller, rights=rights, good_until=key.expires_at)
        return KeyHolder(admitted=admitted, sealed_secret=key.sealed_secret, is_temporary=bool(key.token_id))

    async def rights_of(self, user: User, scope: Scope | None = None) -> Rights:
        """What the user may do, with a credential of that scope. A disabled one may nothing."""
        if not user.is_enabled:
            return Rights(())
        async with self._store.reading() as connection:
            return await self._rights(connection, user.user_id, scope or Scope())

    def last_use(self, kind: CredentialKind, credential_id: str) -> tuple[Instant, str] | None:
        """When and from where it was last used, as far as that is not stored yet."""
        return self._uses.get((kind, credential_id))

    async def run(self) -> None:
        """Writes down the last uses every minute, and forgets what ended long ago, until cancelled."""
        while True:
            await self._clock.sleep_until(Instant(self._clock.now() + _WRITE_USE_EVERY_MS))
            try:
                await self.keep_uses()
                await self.prune()
            except StoreUnavailable as error:
                log.warning("access.uses_not_written", error=str(error))

    async def keep_uses(self) -> None:
        """Raises StoreUnavailable; then they are kept in mind for the next time."""
        uses = dict(self._uses)
        batch = Batch()
        for (kind, credential_id), (at, source) in uses.items():
            is_key = kind is CredentialKind.ACCESS_KEY
            table = tables.access_keys if is_key else tables.access_tokens
            key = {"access_key_id" if is_key else "token_id": credential_id}
            batch.update(table, key, {"last_used_at": at, "last_used_from": source})
        await self._store.write(batch)
        for what, use in uses.items():
            if self._uses.get(what) == use:
                del self._uses[what]

    async def prune(self) -> None:
        """Forgets credentials that ended long ago: sessions come and go. Raises StoreUnavailable."""
        before = self._clock.now() - _ENDED_KEPT_MS
        tokens, keys = tables.access_tokens.c, tables.access_keys.c
        async with self._store.reading() as connection:
            if not await queries.has_ended(connection, Instant(before)):
                return
        batch = Batch()
        batch.delete(tables.access_tokens, {}, where=[tokens.expires_at < before])
        batch.delete(tables.access_tokens, {}, where=[tokens.revoked_at < before])
        batch.delete(tables.access_keys, {}, where=[keys.expires_at < before])
        await self._store.write(batch)

    def _used(self, caller: Caller, source: str) -> None:
        kind = caller.credential_kind
        if kind is CredentialKind.SESSION:
            kind = CredentialKind.TOKEN
        self._uses[kind, caller.credential_id] = (self._clock.now(), source)

    def _remembered(self, digest: str) -> Admitted | None:
        known = self._known.get(digest)
        if known is None:
            return None
        until, admitted = known
        if self._clock.now() < until:
            return admitted
        del self._known[digest]
        return None

    def _remember(self, digest: str, admitted: Admitted) -> None:
        until = Instant(self._clock.now() + _REMEMBERED_MS)
        if admitted.good_until is not None:
            until = min(until, admitted.good_until)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[digest] = (until, admitted)

    async def _by_digest(self, connection: AsyncConnection, digest: str) -> Admitted | None:
        found = await queries.token(connection, digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        token = found[1]
        if not await self._is_good(connection, token):
            return None
        user = await queries.user_by_id(connection, token.user_id)
        if user is None or not user.is_enabled:
            return None
        caller = Caller(
            user_id=user.user_id,
            name=user.name,
            kind=user.kind,
            credential_kind=token.kind,
            credential_id=token.token_id,
            credential_since=token.created_at,
            issuer_id=token.parent_id,
        )
        rights = await self._rights(connection, user.user_id, token.scope)
        return Admitted(caller=caller, rights=rights, good_until=token.expires_at)

    async def _is_good(self, connection: AsyncConnection, token: AccessToken) -> bool:
        """A session ends with what it was made with."""
        if not token.is_good(self._clock.now()):
            return False
        if not token.parent_id:
            return True
        parent = await queries.token_by_id(connection, token.parent_id)
        if parent is not None:
            return parent.is_good(self._clock.now())
        key = await queries.key(connection, token.parent_id)
        return key is not None and key.status is KeyStatus.ACTIVE

    async def _rights(self, connection: AsyncConnection, user_id: UserId, scope: Scope) -> Rights:
        granted = (await queries.grants_of(connection, [user_id])).get(user_id, ())
        return Rights(await statements_for(connection, granted), scope)


Forget = Callable[[], None]
"""What changes users, roles or credentials calls once that is stored."""
