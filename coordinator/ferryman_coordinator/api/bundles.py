"""BundleService: archives into the built-in store, streamed to disk; or the way into S3."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc.aio
import structlog

from ferryman.v1 import bundles_pb2 as pb
from ferryman.v1 import bundles_pb2_grpc, types_pb2
from ferryman_coordinator.api.auth import Context, current_caller
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.bundles.storage import BundleStorage, UploadHeader
from ferryman_coordinator.core.inventory import StoredBundle
from ferryman_coordinator.errors import Invalid, Refused
from ferryman_coordinator.operations.connections import Connections

log = structlog.get_logger(__name__)

_DRAIN_S = 30.0
_QUIET_S = 2.0


class BundleServicer(bundles_pb2_grpc.BundleServiceServicer):
    def __init__(self, storage: BundleStorage, connections: Connections) -> None:
        self._storage = storage
        self._connections = connections

    def register(self, server: grpc.aio.Server) -> str:
        bundles_pb2_grpc.add_BundleServiceServicer_to_server(self, server)
        return "ferryman.v1.BundleService"

    async def FindBundle(self, request: pb.FindBundleRequest, context: Context) -> pb.FindBundleResponse:
        found = await self._storage.find(request.sha256)
        if found is None:
            return pb.FindBundleResponse(is_known=False)
        return pb.FindBundleResponse(is_known=True, bundle=_bundle_to(found))

    async def UploadBundle(
        self, request_iterator: AsyncIterator[pb.UploadBundleRequest], context: Context
    ) -> pb.UploadBundleResponse:
        try:
            stored = await self._storage.receive(
                await _header(request_iterator), _content(request_iterator, context)
            )
        except Refused:
            await _drain(request_iterator)
            raise
        await _drain(request_iterator)
        return pb.UploadBundleResponse(bundle=_bundle_to(stored))

    async def PrepareS3Upload(
        self, request: pb.PrepareS3UploadRequest, context: Context
    ) -> pb.PrepareS3UploadResponse:
        upload = await self._connections.prepare_upload(request.bucket, request.key, request.size_bytes)
        # Whoever may call may write there with the coordinator's key, so it is told.
        log.info("s3.upload_prepared", bucket=request.bucket, object=request.key, by=current_caller().name)
        return pb.PrepareS3UploadResponse(
            url=upload.url, headers=upload.headers, expires_at=upload.expires_at
        )


async def _header(parts: AsyncIterator[pb.UploadBundleRequest]) -> UploadHeader:
    first = await anext(parts, None)
    if first is None or not first.HasField("header"):
        raise Invalid(
            "UploadHeaderMissing", "the first part of an upload is its header: digest, size and type"
        )
    return UploadHeader(
        sha256=first.header.sha256,
        size_bytes=first.header.size_bytes,
        bundle_type=words.bundle_types.word(first.header.bundle_type),
    )


async def _content(parts: AsyncIterator[pb.UploadBundleRequest], context: Context) -> AsyncIterator[bytes]:
    # Headers of the answer: a client that waits for them before it sends content is spared a transfer in vain.
    await context.send_initial_metadata(())
    async for part in parts:
        if not part.HasField("content"):
            raise Invalid("UploadHeaderRepeated", "after the header an upload has content only")
        yield part.content


async def _drain(parts: AsyncIterator[pb.UploadBundleRequest]) -> None:
    """Reads what the client still sends, until it has been quiet for a moment, and not for ever.

    A call that ends while its client writes looks to that client like an internal error, and the reason is lost.
    """
    with contextlib.suppress(TimeoutError, Refused):
        async with asyncio.timeout(_DRAIN_S):
            while True:
                async with asyncio.timeout(_QUIET_S):
                    if await anext(parts, None) is None:
                        return


def _bundle_to(bundle: StoredBundle) -> types_pb2.BundleLocation:
    return types_pb2.BundleLocation(
        sha256=bundle.sha256,
        size_bytes=bundle.size_bytes,
        bundle_type=words.bundle_types.wire(bundle.bundle_type),
    )
