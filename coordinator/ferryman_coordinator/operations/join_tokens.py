"""Join tokens: who may enrol an instance, and as what.

A token's text is shown once; the store keeps only the digest of its secret.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import ANY_NAME, ANY_TAG, JoinToken, TokenId
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.provider_identity import is_provider_id
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Invalid, NotMatched, Refused, Unauthenticated
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.tokens import digest_of
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.inventory_records import join_token_row
from ferryman_coordinator.store.queries import tokens as queries
from ferryman_coordinator.store.store import Store

JOIN_PREFIX = "ferryman-join-1-"

DEFAULT_TTL_SECONDS = 3600
LONGEST_TTL_SECONDS = 366 * 24 * 3600
MOST_USES = 1_000_000
MOST_PATTERNS = 50

_NAME_PATTERN = re.compile(r"[A-Za-z0-9._+=,@*-]{1,100}")
_JOIN_TOKEN = re.compile(re.escape(JOIN_PREFIX) + r"([0-9a-f]{64})-([0-9A-Za-z]+)")


class JoinTokens:
    """Who may enrol an instance."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        ca_fingerprint: str | Callable[[], str],
        default_tags: Sequence[Tag] = ANY_TAG,
    ) -> None:
        """`ca_fingerprint`: SHA-256 of the CA's certificate in hexadecimal, or who says it; part of every token's text.

        `default_tags`: patterns of the tags that a token allows when nothing is said.
        """
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._asked_fingerprint = ca_fingerprint
        self._default_tags = tuple(default_tags)

    async def create(
        self,
        *,
        uses: int = 1,
        is_unlimited: bool = False,
        ttl_seconds: int = 0,
        instance_name: str = "",
        tags: Sequence[Tag] = (),
        allowed_tags: Sequence[Tag] | None = None,
        allowed_names: Sequence[str] = (),
        replaces_identity: bool = False,
    ) -> tuple[str, JoinToken]:
        """A new token's text, which cannot be read again, and what is known of it.

        `uses` 0 means one, `ttl_seconds` 0 an hour. A preset `instance_name`, or a provider's id there, is for a single
        use. Its holder may choose among `allowed_tags` (None: as configured) and `allowed_names` (empty: any), both
        patterns. Raises Invalid, LimitExceeded (TagLimitExceededException).
        """
        uses = uses or 1
        self._check_uses(uses, is_unlimited, instance_name)
        if not 0 <= ttl_seconds <= LONGEST_TTL_SECONDS:
            raise _invalid(f"a join token lives 1 to {LONGEST_TTL_SECONDS} seconds, not {ttl_seconds}")
        if instance_name and not is_provider_id(instance_name):
            names.INSTANCE.check(instance_name, self._limits)
        if replaces_identity and not instance_name:
            raise _invalid(
                "a join token replaces the identity of one instance: say which with --instance-name"
            )
        kept = names.check_tags(tags, self._limits)
        names.check_tag_count(instance_name or "that enrols with it", kept, self._limits)
        now = self._clock.now()
        token = JoinToken(
            token_id=TokenId(self._ids.guid()),
            uses=0 if is_unlimited else uses,
            used=0,
            created_at=now,
            expires_at=Instant(now + 1000 * (ttl_seconds or DEFAULT_TTL_SECONDS)),
            instance_name=instance_name,
            tags=kept,
            allowed_tags=self._default_tags if allowed_tags is None else self._tag_patterns(allowed_tags),
            allowed_names=_name_patterns(allowed_names),
            replaces_identity=replaces_identity,
        )
        secret = self._ids.secret()
        batch = Batch()
        batch.insert(tables.join_tokens, join_token_row(token, digest_of(secret)))
        await self._store.write(batch)
        return f"{JOIN_PREFIX}{self._ca_fingerprint}-{secret}", token

    async def list(self, request: PageRequest) -> Page[JoinToken]:
        """Tokens, newest first, those of the past included; raises Invalid for a bad page."""

        async def fetch(after: Key | None, limit: int) -> Sequence[JoinToken]:
            async with self._store.reading() as connection:
                return await queries.join_tokens_before(connection, after or (), limit)

        return await self._store.cursors.page(
            ["join-tokens"], request, fetch, lambda token: (token.created_at, token.token_id)
        )

    @property
    def _ca_fingerprint(self) -> str:
        """Another one after the CA was rotated."""
        asked = self._asked_fingerprint
        return (asked if isinstance(asked, str) else asked()).lower()

    async def revoke(self, token_id: TokenId) -> None:
        """Let nobody enrol with it any more; unknown and revoked ones are revoked successfully."""
        batch = Batch()
        is_valid = tables.join_tokens.c.revoked_at.is_(None)
        batch.update(
            tables.join_tokens, {"token_id": token_id}, {"revoked_at": self._clock.now()}, where=[is_valid]
        )
        await self._store.write(batch)

    async def check(self, text: str) -> JoinToken:
        """The token behind a text, if one may enrol with it now.

        Raises Unauthenticated: JoinTokenMalformed, JoinTokenForeign, JoinTokenUnknown, JoinTokenRevoked,
        JoinTokenExpired, JoinTokenUsedUp.
        """
        match = _JOIN_TOKEN.fullmatch(text.strip())
        if match is None:
            raise Unauthenticated(
                "JoinTokenMalformed",
                f"this is no join token: one begins with {JOIN_PREFIX} and has two more parts; copy it whole",
            )
        if not hmac.compare_digest(match[1], self._ca_fingerprint):
            raise Unauthenticated(
                "JoinTokenForeign",
                f"the join token was made by another coordinator, one whose CA is {match[1][:12]}…: "
                "enrol there, or make a token here with `ferryman token create --join`",
            )
        digest = digest_of(match[2])
        async with self._store.reading() as connection:
            found = await queries.join_token(connection, digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            raise Unauthenticated(
                "JoinTokenUnknown",
                "the join token is not known here: copy it whole, or make another with `ferryman token create --join`",
            )
        if (refusal := self._refusal(found[1])) is not None:
            raise refusal
        return found[1]

    def spend(self, batch: Batch, token: JoinToken) -> None:
        """Take one use of `token` with the rest of `batch`: `Store.write` raises NotMatched when there is none left.

        So of many that enrol at the same moment, exactly as many succeed as the token has uses.
        """
        column = tables.join_tokens.c
        has_use = (column.uses == 0) | (column.used < column.uses)
        is_valid = column.revoked_at.is_(None) & (column.expires_at > self._clock.now())
        batch.update(
            tables.join_tokens,
            {"token_id": token.token_id},
            {"used": column.used + 1},
            expect=1,
            where=[has_use, is_valid],
        )

    async def consume(self, text: str) -> JoinToken:
        """`check`, and one use less; raises what `check` raises."""
        token = await self.check(text)
        batch = Batch()
        self.spend(batch, token)
        try:
            await self._store.write(batch)
        except NotMatched as late:
            # Somebody was faster; the reason is found where it always is.
            await self.check(text)
            raise _used_up(token) from late
        return token

    def _check_uses(self, uses: int, is_unlimited: bool, instance_name: str) -> None:
        if not 1 <= uses <= MOST_USES:
            raise _invalid(f"a join token has 1 to {MOST_USES} uses, not {uses}")
        if is_unlimited and uses > 1:
            raise _invalid(f"a join token has either {uses} uses or unlimited ones: give one of the two")
        if instance_name and (is_unlimited or uses > 1):
            raise _invalid(
                f"a join token for instance {instance_name!r} has one use, since a name is there once: "
                "leave the name out, or make a token for each instance"
            )

    def _tag_patterns(self, patterns: Sequence[Tag]) -> tuple[Tag, ...]:
        if len(patterns) > MOST_PATTERNS:
            raise _invalid(f"a join token has at most {MOST_PATTERNS} patterns of tags, not {len(patterns)}")
        return names.check_tags(patterns, self._limits)

    def _refusal(self, token: JoinToken) -> Refused | None:
        if token.revoked_at is not None:
            return Unauthenticated(
                "JoinTokenRevoked",
                "the join token was revoked: make another with `ferryman token create --join`",
            )
        if token.expires_at <= self._clock.now():
            return Unauthenticated(
                "JoinTokenExpired",
                "the join token has expired: make another with `ferryman token create --join`, "
                "with a longer --ttl if need be",
            )
        return _used_up(token) if token.uses and token.used >= token.uses else None


def _name_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    if len(patterns) > MOST_PATTERNS:
        raise _invalid(f"a join token has at most {MOST_PATTERNS} patterns of names, not {len(patterns)}")
    for pattern in patterns:
        if not _NAME_PATTERN.fullmatch(pattern):
            raise _invalid(
                f"{names.shown(pattern)} is no pattern of names: use at most 100 letters, digits and . _ + = , @ - *"
            )
    return tuple(dict.fromkeys(patterns)) or ANY_NAME


def _used_up(token: JoinToken) -> Unauthenticated:
    uses = "its one use" if token.uses == 1 else f"all its {token.uses} uses"
    return Unauthenticated(
        "JoinTokenUsedUp",
        f"the join token has had {uses}: make another with `ferryman token create --join`",
    )


def _invalid(message: str) -> Invalid:
    return Invalid("InvalidInputException", message)
