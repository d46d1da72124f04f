"""Tokens for GitHub under names, in one file that only the coordinator's user can read (AG-530, PF-290).

A token goes out in one way only: as a header of the request that an agent makes, inside the command for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import Invalid, LimitExceeded, SetupError
from ferryman_coordinator.keyfiles import SECRET, read_file, write_file

LIMIT = 25
_TOKEN_LENGTH = 1024


class Kept(msgspec.Struct, frozen=True):
    """One token; not shown in any text that is made of it."""

    token: str
    stored_at: int

    def __repr__(self) -> str:
        return f"Kept(stored_at={self.stored_at})"


class _File(msgspec.Struct):
    tokens: dict[str, Kept] = {}


@dataclass(frozen=True, slots=True)
class NamedToken:
    """What may be told of one."""

    name: str
    stored_at: Instant


@dataclass
class GitHubTokens:
    """Read once; every change is on disk before it counts."""

    path: Path
    tokens: dict[str, Kept]
    limit: int = LIMIT
    generation: int = 0
    """Rises with each change."""
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def open(cls, path: Path, limit: int = LIMIT) -> GitHubTokens:
        """Raises SetupError."""
        content = read_file(path)
        if content is None:
            return cls(path, {}, limit)
        try:
            return cls(path, msgspec.json.decode(content, type=_File).tokens, limit)
        except (msgspec.DecodeError, msgspec.ValidationError) as problem:
            # Without the problem's own text: it may quote the file.
            raise SetupError(
                f"{path} is damaged: restore it from a backup, or remove it and store the tokens again"
            ) from problem

    def get(self, name: str) -> str | None:
        kept = self.tokens.get(name)
        return None if kept is None else kept.token

    def names(self) -> list[NamedToken]:
        """In the order of their names."""
        return [NamedToken(name, Instant(kept.stored_at)) for name, kept in sorted(self.tokens.items())]

    async def put(self, name: str, token: str, now: Instant) -> NamedToken:
        """Stores or replaces one; the name has been checked. Raises Invalid, LimitExceeded, SetupError."""
        if (
            not 0 < len(token) <= _TOKEN_LENGTH
            or not token.isascii()
            or not token.isprintable()
            or " " in token
        ):
            raise Invalid(
                "InvalidGitHubAccountTokenException",
                "that is no token of GitHub: it is one word of printable characters, such as github_pat_…",
            )
        async with self._changing:
            if name not in self.tokens and len(self.tokens) >= self.limit:
                raise LimitExceeded(
                    "GitHubAccountTokenLimitExceeded",
                    f"{self.limit} tokens are stored, the most that are kept: remove one first"
                    " (`ferryman github-token list`), or raise limits.github_tokens in the coordinator's configuration",
                )
            await self._keep(self.tokens | {name: Kept(token, now)})
        return NamedToken(name, now)

    async def remove(self, name: str) -> None:
        """Removing what is not there succeeds. Raises SetupError."""
        async with self._changing:
            if name in self.tokens:
                await self._keep({other: kept for other, kept in self.tokens.items() if other != name})

    async def _keep(self, tokens: dict[str, Kept]) -> None:
        await asyncio.to_thread(write_file, self.path, msgspec.json.encode(_File(tokens)), SECRET)
        self.tokens = tokens
        self.generation += 1
