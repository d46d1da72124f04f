"""Who calls: users, the roles that they are granted, and the credentials that they show (PF-231, PF-242)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from ferryman_coordinator.core.inventory import TokenId
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.resources import EVERYTHING
from ferryman_coordinator.core.rights import UNLIMITED, Scope, Statement

UserId = NewType("UserId", str)

ADMIN = "admin"
"""Name and id of the user that the first start makes (PF-247)."""


class UserKind(StrEnum):
    PERSON = "Person"
    SERVICE = "Service"


class CredentialKind(StrEnum):
    TOKEN = "Token"  # noqa: S105  # a word
    SESSION = "Session"
    ACCESS_KEY = "AccessKey"


class KeyStatus(StrEnum):
    ACTIVE = "Active"
    INACTIVE = "Inactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person or a service; `created_by` is a name."""

    user_id: UserId
    name: str
    kind: UserKind
    description: str
    created_at: Instant
    created_by: str
    disabled_at: Instant | None = None

    @property
    def is_enabled(self) -> bool:
        return self.disabled_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role, on some resources."""

    role_name: str
    resources: tuple[str, ...]
    created_at: Instant
    created_by: str

    @property
    def is_everywhere(self) -> bool:
        return EVERYTHING in self.resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One that was made here, or a ready-made one: that is as old as time."""

    name: str
    description: str
    statements: tuple[Statement, ...]
    created_at: Instant
    updated_at: Instant
    is_ready_made: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What is known of a bearer token, or of a session's; never its text."""

    token_id: TokenId
    user_id: UserId
    kind: CredentialKind
    name: str
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None = None
    scope: Scope = UNLIMITED
    # Of a session: the token or access key that it was made with.
    parent_id: str = ""
    last_used_at: Instant | None = None
    last_used_from: str = ""

    def is_good(self, now: Instant) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """What is known of an access key; its secret is sealed."""

    access_key_id: str
    user_id: UserId
    sealed_secret: str
    status: KeyStatus
    created_at: Instant
    expires_at: Instant | None = None
    # Of a temporary one: the access token of its session.
    token_id: str = ""
    scope: Scope = UNLIMITED
    last_used_at: Instant | None = None
    last_used_from: str = ""

    def __repr__(self) -> str:
        return f"AccessKey({self.access_key_id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a call, and what was shown to prove it."""

    user_id: UserId
    name: str
    kind: UserKind
    credential_kind: CredentialKind
    credential_id: str
    credential_since: Instant
    # Of a session: what it was made with.
    issuer_id: str = ""
