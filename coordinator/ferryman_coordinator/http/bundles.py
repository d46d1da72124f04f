"""`GET /bundles/<sha256>?expires=…&signature=…`: streamed from disk, whole or in ranges.

Files are read in threads and written as fast as the client takes them, so neither a large bundle nor a slow client
costs memory or holds anybody up.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from ferryman_coordinator.bundles.storage import BundleStorage
from ferryman_coordinator.bundles.urls import BundleUrls
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import BundleType
from ferryman_coordinator.errors import NotFound

_MEDIA_TYPES = {
    BundleType.ZIP: "application/zip",
    BundleType.TAR: "application/x-tar",
    BundleType.TGZ: "application/gzip",
}


class BundleResponse(FileResponse):
    """Reads in larger steps: with the library's 64 KiB the thread's turns cost more than the reading."""

    chunk_size = 1024 * 1024


class BundleDoor:
    """Answers for signed addresses only; a signature is for one digest and a limited time."""

    def __init__(self, storage: BundleStorage, urls: BundleUrls, clock: Clock) -> None:
        self._storage = storage
        self._urls = urls
        self._clock = clock

    async def get(self, request: Request) -> Response:
        """GET and HEAD. Raises Denied for an address that is not, or no longer, good, and NotFound."""
        sha256 = request.path_params["sha256"]
        query = request.query_params
        self._urls.verify(sha256, query.get("expires", ""), query.get("signature", ""), self._clock.now())
        bundle = await self._storage.find(sha256)
        if bundle is None:
            raise NotFound(
                "BundleDoesNotExist", f"bundle {sha256[:12]} is not in the coordinator's store any more"
            )
        etag = f'"{sha256}"'
        headers = {"etag": etag, "cache-control": "private, immutable, max-age=31536000"}
        if etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        return BundleResponse(
            self._storage.path(sha256), headers=headers, media_type=_MEDIA_TYPES[bundle.bundle_type]
        )
