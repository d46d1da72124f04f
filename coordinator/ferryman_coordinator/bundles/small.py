"""Small archives for agents by gRPC: no HTTP client, no second TLS, no further connection for a few kilobytes.

They are asked for by the very addresses that the HTTP door takes, so there is one permission for both ways.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import parse_qsl

from ferryman.channel import SMALL_BUNDLE_LIMIT
from ferryman_coordinator.bundles.storage import BundleStorage
from ferryman_coordinator.bundles.urls import BundleUrls
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.errors import Invalid, NotFound

_PIECE = 128 * 1024
_AT_ONCE = 64
"""A whole fleet asks in the same moment. What waits here costs a call, what is being sent up to 1 MiB."""

_LONGEST_ADDRESS = 1000


class SmallBundles:
    """Gives pieces as fast as they are taken."""

    def __init__(self, storage: BundleStorage, urls: BundleUrls, clock: Clock) -> None:
        self._storage = storage
        self._urls = urls
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def pieces(self, address: str) -> AsyncGenerator[bytes, None]:
        """The archive at `/bundles/<sha256>?expires=…&signature=…`.

        Raises Denied for an address that is not, or no longer, good, NotFound, and Invalid for an archive that is too
        large to be fetched like this.
        """
        sha256, query = _taken_apart(address)
        self._urls.verify(sha256, query.get("expires", ""), query.get("signature", ""), self._clock.now())
        async with self._turns:
            bundle = await self._storage.find(sha256)
            if bundle is None:
                raise NotFound(
                    "BundleDoesNotExist", f"bundle {sha256[:12]} is not in the coordinator's store any more"
                )
            if bundle.size_bytes > SMALL_BUNDLE_LIMIT:
                raise Invalid(
                    "BundleTooLarge",
                    f"bundle {sha256[:12]} has {bundle.size_bytes} bytes: fetch what has more than"
                    f" {SMALL_BUNDLE_LIMIT} by HTTP",
                )
            content = await asyncio.to_thread(self._storage.path(sha256).read_bytes)
            for begin in range(0, len(content), _PIECE):
                yield content[begin : begin + _PIECE]


def _taken_apart(address: str) -> tuple[str, dict[str, str]]:
    # Not by `urlsplit`, which keeps what it has taken apart: these are secrets.
    path, _, query = address[:_LONGEST_ADDRESS].partition("?")
    return path.removeprefix("/bundles/"), dict(parse_qsl(query))
