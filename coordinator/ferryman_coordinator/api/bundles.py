"""BundleService: archives into the built-in store, streamed to disk."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio

from ferryman.v1 import bundles_pb2 as pb
from ferryman.v1 import bundles_pb2_grpc, types_pb2
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.bundles.storage import BundleStorage, UploadHeader
from ferryman_coordinator.core.inventory import StoredBundle
from ferryman_coordinator.errors import Invalid


class BundleServicer(bundles_pb2_grpc.BundleServiceServicer):
    def __init__(self, storage: BundleStorage) -> None:
        self._storage = storage

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
        first = await anext(request_iterator, None)
        if first is None or not first.HasField("header"):
            raise Invalid(
                "UploadHeaderMissing", "the first part of an upload is its header: digest, size and type"
            )
        header = UploadHeader(
            sha256=first.header.sha256,
            size_bytes=first.header.size_bytes,
            bundle_type=words.bundle_types.word(first.header.bundle_type),
        )
        stored = await self._storage.receive(header, _content(request_iterator))
        return pb.UploadBundleResponse(bundle=_bundle_to(stored))


async def _content(parts: AsyncIterator[pb.UploadBundleRequest]) -> AsyncIterator[bytes]:
    async for part in parts:
        if not part.HasField("content"):
            raise Invalid("UploadHeaderRepeated", "after the header an upload has content only")
        yield part.content


def _bundle_to(bundle: StoredBundle) -> types_pb2.BundleLocation:
    return types_pb2.BundleLocation(
        sha256=bundle.sha256,
        size_bytes=bundle.size_bytes,
        bundle_type=words.bundle_types.wire(bundle.bundle_type),
    )
