"""Small archives over the agents' port: by the address that an order gives, and by no other."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import grpc
import pytest

from ferryman.channel import SMALL_BUNDLE_LIMIT, UPLOAD_PART_LIMIT
from ferryman.v1 import agents_pb2, types_pb2
from ferryman.v1 import bundles_pb2 as pb
from ferryman_coordinator.bundles.urls import BundleUrls
from ferryman_coordinator.core.model import Instant
from tests.support.coordinator import EnrolledAgent, RunningCoordinator, agents_stub, bundles_stub, refusal

HOUR = 3_600_000
FAR = Instant(4_000_000_000_000)


async def stored(coordinator: RunningCoordinator, content: bytes) -> str:
    """Uploads it; returns its digest."""
    sha256 = hashlib.sha256(content).hexdigest()
    header = pb.UploadHeader(sha256=sha256, size_bytes=len(content), bundle_type=types_pb2.BUNDLE_TYPE_TGZ)
    requests = [pb.UploadBundleRequest(header=header)]
    requests.extend(
        pb.UploadBundleRequest(content=content[begin : begin + UPLOAD_PART_LIMIT])
        for begin in range(0, len(content), UPLOAD_PART_LIMIT)
    )
    async with coordinator.channel() as channel:
        await bundles_stub(channel).UploadBundle(iter(requests), metadata=coordinator.admin)
    return sha256


def address(coordinator: RunningCoordinator, sha256: str, at: Instant = FAR) -> str:
    """What an order of this coordinator says."""
    urls = BundleUrls.open(Path(coordinator.ready.data_dir) / "bundle-urls.key", HOUR)
    return urls.sign(sha256, at)


async def fetched(agent: EnrolledAgent, wanted: str) -> bytes:
    async with agent.channel() as channel:
        call = agents_stub(channel).FetchBundle(agents_pb2.FetchBundleRequest(address=wanted))
        return b"".join([piece.content async for piece in call])


async def test_an_agent_gets_the_archive_of_its_order(coordinator: RunningCoordinator) -> None:
    content = os.urandom(SMALL_BUNDLE_LIMIT)
    sha256 = await stored(coordinator, content)
    agent = await coordinator.enrol("web-1")
    assert await fetched(agent, address(coordinator, sha256)) == content


async def test_more_than_a_mebibyte_is_for_http(coordinator: RunningCoordinator) -> None:
    sha256 = await stored(coordinator, bytes(SMALL_BUNDLE_LIMIT + 1))
    agent = await coordinator.enrol("web-1")
    code, fault = await refusal(fetched(agent, address(coordinator, sha256)))
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BundleTooLarge")
    assert "HTTP" in fault.message


@pytest.mark.parametrize("forged", ["", "/bundles/", "/bundles/{}", "/bundles/../{}?expires=1", "x" * 5000])
async def test_an_agent_cannot_make_up_an_address(coordinator: RunningCoordinator, forged: str) -> None:
    sha256 = await stored(coordinator, b"secret")
    agent = await coordinator.enrol("web-1")
    code, fault = await refusal(fetched(agent, forged.format(sha256)))
    assert (code, fault.reason) == (grpc.StatusCode.PERMISSION_DENIED, "InvalidSignature")


async def test_the_address_of_another_archive_or_an_old_one_is_refused(
    coordinator: RunningCoordinator,
) -> None:
    one, other = await stored(coordinator, b"one"), await stored(coordinator, b"other")
    agent = await coordinator.enrol("web-1")
    swapped = address(coordinator, one).replace(one, other)
    assert (await refusal(fetched(agent, swapped)))[1].reason == "InvalidSignature"
    expired = address(coordinator, one, Instant(0))
    assert (await refusal(fetched(agent, expired)))[1].reason == "UrlExpired"


async def test_an_archive_that_is_gone_is_not_found(coordinator: RunningCoordinator) -> None:
    agent = await coordinator.enrol("web-1")
    code, fault = await refusal(fetched(agent, address(coordinator, "0" * 64)))
    assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "BundleDoesNotExist")
