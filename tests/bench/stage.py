"""What the rows about calls play on: a coordinator process and pretend agents in this one. It has no rows itself."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ferryman.v1 import tokens_pb2, types_pb2
from ferryman_client.client import Client
from tests.bench.coordinator import prepare, trivial_bundle
from tests.support.fleet import CoordinatorProcess
from tests.support.swarm import Swarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A coordinator process with the pretend agents of group `all`, each connected."""

    coordinator: CoordinatorProcess
    client: Client
    swarm: Swarm
    revision: types_pb2.RevisionLocation

    @property
    def pid(self) -> int:
        assert self.coordinator.process is not None
        return self.coordinator.process.pid


@asynccontextmanager
async def stage_with(agents: int) -> AsyncIterator[Stage]:
    """Ends everything at the end; agents that are gone already are no harm."""
    swarm = Swarm(agents)
    with tempfile.TemporaryDirectory(prefix="bench-api-") as directory:
        coordinator = CoordinatorProcess(Path(directory))
        coordinator.start()
        try:
            async with Client(coordinator.profile) as client:
                request = tokens_pb2.CreateJoinTokenRequest(unlimited_uses=True, ttl_seconds=3600)
                token = (await client.call(client.tokens.CreateJoinToken, request)).token
                address = coordinator.ready["grpc"]
                await swarm.enrol(address, coordinator.profile.ca(), token)
                await swarm.connect(address.rpartition(":")[0])
                revision = await prepare(client, trivial_bundle(Path(directory)), tag="swarm")
                yield Stage(coordinator=coordinator, client=client, swarm=swarm, revision=revision)
        finally:
            await swarm.stop()
            coordinator.stop()
