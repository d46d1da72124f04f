"""Asks the coordinator for small bundles over the channel of the stream, for as long as one stands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from ferryman.channel import SMALL_BUNDLE_LIMIT
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import agents_pb2_grpc
from ferryman_agent.bundles.asking import NotByCall
from ferryman_agent.host.identity import AGENT_METADATA

SECONDS = 20.0
"""For 1 MiB. A line that is slower gets it by HTTP, which resumes."""


class BundleCalls:
    """One for each agent."""

    def __init__(self) -> None:
        self._stub: agents_pb2_grpc.AgentServiceAsyncStub | None = None
        self._base_url = ""

    @contextmanager
    def over(self, stub: agents_pb2_grpc.AgentServiceAsyncStub, base_url: str) -> Iterator[None]:
        """Uses this coordinator meanwhile; it serves its bundles below `base_url`."""
        self._stub, self._base_url = stub, base_url
        try:
            yield
        finally:
            self._stub = None

    async def ask(self, url: str) -> bytes:
        """Returns the archive at `url`. Raises NotByCall; of another server's at once."""
        stub = self._stub
        if stub is None:
            raise NotByCall("there is no stream")
        if not url.startswith(f"{self._base_url}/bundles/"):
            raise NotByCall("it is not in the coordinator's store")
        request = pb.FetchBundleRequest(address=url.removeprefix(self._base_url))
        content = bytearray()
        call = stub.FetchBundle(request, timeout=SECONDS, metadata=AGENT_METADATA)
        try:
            async for piece in call:
                content += piece.content
                if len(content) > SMALL_BUNDLE_LIMIT:
                    raise NotByCall(f"it has more than {SMALL_BUNDLE_LIMIT} bytes")
        except grpc.aio.AioRpcError as error:
            raise NotByCall(f"{error.details() or 'no reason'} ({error.code().name})") from error
        except asyncio.CancelledError:
            # Also what a call ends with whose channel is closed.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise NotByCall("the stream ended") from None
        finally:
            call.cancel()
        return bytes(content)
