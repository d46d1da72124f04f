"""What is asked of `attempt.attempt`, and what it answers: values that a child process can be sent.

Apart from the work itself, so that an agent whose children do that need not load an HTTP client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.route import Route

Headers = tuple[tuple[str, str], ...]
"""Names and values."""

Progress = Callable[[int, int | None], None]
"""Hears the bytes received and, once it is known, the total. Called for every piece; the caller thins it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is wanted. `etag` is that of the version a part of which is here from the attempt before, if any.

    label: how people call it. secrets: headers that only the host of `url` may see; credential: what they are.
    wanted_etag, wanted_version: as registered, without quotes.
    """

    url: str = field(repr=False)
    label: str
    destination: str
    route: Route
    limits: BundleLimits
    secrets: Headers = field(default=(), repr=False)
    credential: str = ""
    sha256: str | None = None
    size_bytes: int | None = None
    wanted_etag: str = ""
    wanted_version: str = ""
    etag: str = ""

    @property
    def is_resumable(self) -> bool:
        """Something would show whether the rest belongs to what is here."""
        return self.sha256 is not None or self.etag.startswith('"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended: complete and under its name, or worth another one (`again` says why).

    `after`: seconds that the server asks to wait. `size_bytes` and `sha256` are of what is here.
    """

    size_bytes: int
    sha256: str
    etag: str
    again: str = ""
    after: float = 0
    is_throttled: bool = False


def part_of(destination: Path) -> Path:
    """Returns where a bundle grows."""
    return destination.with_name(f"{destination.name}.part")
