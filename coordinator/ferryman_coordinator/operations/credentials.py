"""Access tokens, access keys and sessions: made, listed, and ended (PF-242, CP-440).

Of a token only a digest is kept. The secret of an access key is kept sealed: the signature of a request can only be
checked by whoever has the secret itself. Both are shown once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.inventory import TokenId
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.resources import NotAPattern, parse_pattern
from ferryman_coordinator.core.rights import UNLIMITED, Scope, check_action_pattern
from ferryman_coordinator.core.users import (
    AccessKey,
    AccessToken,
    Caller,
    CredentialKind,
    KeyStatus,
    UserId,
)
from ferryman_coordinator.errors import Denied, Invalid, LimitExceeded, NotFound
from ferryman_coordinator.identity.sealing import Seal
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.access import Access
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.tokens import (
    ACCESS_PREFIX,
    KEY_PREFIX,
    SESSION_PREFIX,
    TEMPORARY_KEY_PREFIX,
    digest_of,
)
from ferryman_coordinator.operations.users import Users
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.identity_records import key_row, token_row
from ferryman_coordinator.store.queries import identity as queries
from ferryman_coordinator.store.store import Store

DEFAULT_TTL_SECONDS = 3600
LONGEST_TTL_SECONDS = 366 * 24 * 3600
LONGEST_SESSION_SECONDS = 36 * 3600
KEYS_PER_USER = 2
"""So that one can be replaced while the other one is in use."""

_MOST_PATTERNS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownToken:
    token: AccessToken
    user_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """`session_token` and `expires_at` of a temporary one only. What is secret here is shown once."""

    access_key_id: str
    secret: str
    session_token: str = ""
    expires_at: Instant | None = None

    def __repr__(self) -> str:
        return f"NewKey({self.access_key_id!r})"


class Credentials:
    """What can be asked about them."""

    def __init__(
        self, store: Store, clock: Clock, ids: Ids, users: Users, access: Access, seal: Seal, account: Account
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._users = users
        self._access = access
        self._seal = seal
        self._account = account

    # Access tokens ----------------------------------------------------------------------------------------------------

    async def create_token(
        self, user_name: str, *, name: str = "", ttl_seconds: int = 0, scope: Scope = UNLIMITED
    ) -> tuple[str, AccessToken]:
        """A token's text, which cannot be read again, and what is known of it; `ttl_seconds` 0 means an hour.

        Raises Invalid, NotFound (UserDoesNotExistException).
        """
        if not 0 <= ttl_seconds <= LONGEST_TTL_SECONDS:
            raise _invalid(f"an access token lives 1 to {LONGEST_TTL_SECONDS} seconds, not {ttl_seconds}")
        user = await self._users.find(user_name)
        now = self._clock.now()
        token = AccessToken(
            token_id=TokenId(self._ids.guid()),
            user_id=user.user_id,
            kind=CredentialKind.TOKEN,
            name=names.check_description(name),
            created_at=now,
            expires_at=Instant(now + 1000 * (ttl_seconds or DEFAULT_TTL_SECONDS)),
            scope=self._checked(scope),
        )
        text = ACCESS_PREFIX + self._ids.secret()
        batch = Batch()
        batch.insert(tables.access_tokens, token_row(token, digest_of(text)))
        await self._store.write(batch)
        return text, token

    async def list_tokens(self, user_name: str, request: PageRequest) -> Page[KnownToken]:
        """Newest first, those of the past and sessions included; of all users where no name is given.

        Raises Invalid, NotFound (UserDoesNotExistException).
        """
        user_id = (await self._users.find(user_name)).user_id if user_name else None

        async def fetch(after: Key | None, limit: int) -> Sequence[KnownToken]:
            async with self._store.reading() as connection:
                found = await queries.tokens_before(connection, user_id, after or (), limit)
                owners = await queries.names_of(connection, [token.user_id for token in found])
            return [
                KnownToken(token=self._with_use(token), user_name=owners.get(token.user_id, ""))
                for token in found
            ]

        return await self._store.cursors.page(
            ["access-tokens", user_name],
            request,
            fetch,
            lambda one: (one.token.created_at, one.token.token_id),
        )

    async def owner_of_token(self, token_id: str) -> str | None:
        """Name of the user whose token that is."""
        async with self._store.reading() as connection:
            token = await queries.token_by_id(connection, token_id)
            user = None if token is None else await queries.user_by_id(connection, token.user_id)
        return None if user is None else user.name

    async def revoke_token(self, token_id: str) -> None:
        """It lets nobody in any more, nor do sessions that were made with it; unknown ones are revoked successfully."""
        batch = Batch()
        is_valid = tables.access_tokens.c.revoked_at.is_(None)
        batch.update(
            tables.access_tokens,
            {"token_id": token_id},
            {"revoked_at": self._clock.now()},
            where=[is_valid],
        )
        try:
            await self._store.write(batch)
        finally:
            self._access.forget()

    # Access keys ------------------------------------------------------------------------------------------------------

    async def create_key(self, user_name: str, *, scope: Scope = UNLIMITED) -> NewKey:
        """Raises Invalid, NotFound (UserDoesNotExistException), LimitExceeded (AccessKeyLimitExceededException)."""
        user = await self._users.find(user_name)
        async with self._store.reading() as connection:
            has = await queries.keys_of(connection, user.user_id)
        if len(has) >= KEYS_PER_USER:
            raise LimitExceeded(
                "AccessKeyLimitExceededException",
                f"user {user_name!r} has {len(has)} access keys, the most that are kept: delete one first"
                " (`ferryman access-key list`)",
            )
        key, secret = self._new_key(user.user_id, KEY_PREFIX, self._checked(scope))
        batch = Batch()
        batch.insert(tables.access_keys, key_row(key))
        await self._store.write(batch)
        return NewKey(access_key_id=key.access_key_id, secret=secret)

    async def list_keys(self, user_name: str) -> Sequence[AccessKey]:
        """Oldest first, without temporary ones. Raises Invalid, NotFound (UserDoesNotExistException)."""
        user = await self._users.find(user_name)
        async with self._store.reading() as connection:
            found = await queries.keys_of(connection, user.user_id)
        return [self._key_with_use(key) for key in found]

    async def owner_of_key(self, access_key_id: str) -> str | None:
        """Name of the user whose access key that is."""
        async with self._store.reading() as connection:
            key = await queries.key(connection, access_key_id)
            user = None if key is None else await queries.user_by_id(connection, key.user_id)
        return None if user is None else user.name

    async def set_status(self, access_key_id: str, status: KeyStatus) -> None:
        """An inactive key lets nobody in. Raises NotFound (AccessKeyDoesNotExistException)."""
        if await self.owner_of_key(access_key_id) is None:
            raise NotFound(
                "AccessKeyDoesNotExistException", f"there is no access key {names.shown(access_key_id)}"
            )
        batch = Batch()
        batch.update(tables.access_keys, {"access_key_id": access_key_id}, {"status": status.value})
        try:
            await self._store.write(batch)
        finally:
            self._access.forget()

    async def delete_key(self, access_key_id: str) -> None:
        """For good; one that is not there is no mistake."""
        batch = Batch()
        batch.delete(tables.access_keys, {"access_key_id": access_key_id})
        try:
            await self._store.write(batch)
        finally:
            self._access.forget()

    def secret_of(self, access_key_id: str, sealed_secret: str) -> str:
        """What requests are signed with. Raises SetupError when the sealing key was lost."""
        return self._seal.reveal(sealed_secret, access_key_id)

    # Sessions ---------------------------------------------------------------------------------------------------------

    async def create_session(
        self, caller: Caller, good_until: Instant | None, scope: Scope, *, ttl_seconds: int = 0
    ) -> NewKey:
        """Temporary credentials of the caller's own, which end no later than what the caller showed (CP-440).

        `scope` is that of the caller's credential, or a part of it. Raises Invalid, Denied (a session makes none).
        """
        if not 0 <= ttl_seconds <= LONGEST_SESSION_SECONDS:
            raise _invalid(f"a session lives 1 to {LONGEST_SESSION_SECONDS} seconds, not {ttl_seconds}")
        if caller.credential_kind is CredentialKind.SESSION or caller.issuer_id:
            raise Denied(
                "AccessDeniedException",
                "a session cannot make another one: use the token or access key that it was made with",
            )
        now = self._clock.now()
        expires_at = Instant(now + 1000 * (ttl_seconds or DEFAULT_TTL_SECONDS))
        if good_until is not None:
            expires_at = min(expires_at, good_until)
        token = AccessToken(
            token_id=TokenId(self._ids.guid()),
            user_id=caller.user_id,
            kind=CredentialKind.SESSION,
            name="",
            created_at=now,
            expires_at=expires_at,
            scope=scope,
            parent_id=caller.credential_id,
        )
        text = SESSION_PREFIX + self._ids.secret()
        key, secret = self._new_key(caller.user_id, TEMPORARY_KEY_PREFIX, scope)
        key = replace(key, token_id=token.token_id, expires_at=expires_at)
        batch = Batch()
        batch.insert(tables.access_tokens, token_row(token, digest_of(text)))
        batch.insert(tables.access_keys, key_row(key))
        await self._store.write(batch)
        return NewKey(
            access_key_id=key.access_key_id, secret=secret, session_token=text, expires_at=expires_at
        )

    def _new_key(self, user_id: UserId, prefix: str, scope: Scope) -> tuple[AccessKey, str]:
        access_key_id, secret = self._ids.access_key_id(prefix), self._ids.secret()
        key = AccessKey(
            access_key_id=access_key_id,
            user_id=user_id,
            sealed_secret=self._seal.close(secret, access_key_id),
            status=KeyStatus.ACTIVE,
            created_at=self._clock.now(),
            scope=scope,
        )
        return key, secret

    def _checked(self, scope: Scope) -> Scope:
        if len(scope.actions) > _MOST_PATTERNS or len(scope.resources) > _MOST_PATTERNS:
            raise _invalid(f"a scope names at most {_MOST_PATTERNS} actions and {_MOST_PATTERNS} resources")
        try:
            return Scope(
                actions=tuple(check_action_pattern(text) for text in scope.actions) or UNLIMITED.actions,
                resources=tuple(
                    parse_pattern(text, self._account.region, self._account.account_id)
                    for text in scope.resources
                )
                or UNLIMITED.resources,
            )
        except NotAPattern as problem:
            raise _invalid(str(problem)) from problem

    def _with_use(self, token: AccessToken) -> AccessToken:
        use = self._access.last_use(CredentialKind.TOKEN, token.token_id)
        return token if use is None else replace(token, last_used_at=use[0], last_used_from=use[1])

    def _key_with_use(self, key: AccessKey) -> AccessKey:
        use = self._access.last_use(CredentialKind.ACCESS_KEY, key.access_key_id)
        return key if use is None else replace(key, last_used_at=use[0], last_used_from=use[1])


def _invalid(message: str) -> Invalid:
    return Invalid("InvalidInputException", message)
