"""Bundles over the wire: streamed up, checked, and streamed down again."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest

from ferryman.channel import UPLOAD_PART_LIMIT
from ferryman.v1 import bundles_pb2 as pb
from ferryman.v1 import inventory_pb2, types_pb2
from tests.support.coordinator import RunningCoordinator, bundles_stub, inventory_stub, refusal

CONTENT = os.urandom(1000) * 5_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def parts(
    content: bytes = CONTENT, *, sha256: str = DIGEST, size: int | None = None, step: int = UPLOAD_PART_LIMIT
) -> Iterator[pb.UploadBundleRequest]:
    header = pb.UploadHeader(
        sha256=sha256,
        size_bytes=len(content) if size is None else size,
        bundle_type=types_pb2.BUNDLE_TYPE_TGZ,
    )
    yield pb.UploadBundleRequest(header=header)
    for at in range(0, len(content), step):
        yield pb.UploadBundleRequest(content=content[at : at + step])


async def upload(
    coordinator: RunningCoordinator,
    requests: Iterator[pb.UploadBundleRequest] | AsyncIterator[pb.UploadBundleRequest],
) -> pb.UploadBundleResponse:
    async with coordinator.channel() as channel:
        return await bundles_stub(channel).UploadBundle(requests, metadata=coordinator.admin)


async def find(coordinator: RunningCoordinator, sha256: str = DIGEST) -> pb.FindBundleResponse:
    async with coordinator.channel() as channel:
        request = pb.FindBundleRequest(sha256=sha256)
        return await bundles_stub(channel).FindBundle(request, metadata=coordinator.admin)


def stored(coordinator: RunningCoordinator) -> list[Path]:
    return [path for path in (Path(coordinator.ready.data_dir) / "bundles").rglob("*") if path.is_file()]


@pytest.mark.parametrize("step", [UPLOAD_PART_LIMIT, 7_001])
async def test_a_bundle_is_stored_under_its_digest(coordinator: RunningCoordinator, step: int) -> None:
    assert not (await find(coordinator)).is_known
    answer = await upload(coordinator, parts(step=step))
    assert (answer.bundle.sha256, answer.bundle.size_bytes) == (DIGEST, len(CONTENT))
    assert answer.bundle.bundle_type == types_pb2.BUNDLE_TYPE_TGZ
    (path,) = stored(coordinator)
    assert path.read_bytes() == CONTENT
    found = await find(coordinator)
    assert found.is_known
    assert found.bundle == answer.bundle


async def test_a_client_that_waits_is_told_before_it_sends_content(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel, asyncio.timeout(10):
        accepted = bundles_stub(channel).UploadBundle(metadata=coordinator.admin)
        requests = parts()
        await accepted.write(next(requests))
        await accepted.initial_metadata()
        assert not accepted.done()
        for part in requests:
            await accepted.write(part)
        await accepted.done_writing()
        await accepted
        again = bundles_stub(channel).UploadBundle(metadata=coordinator.admin)
        await again.write(next(parts()))
        await again.done_writing()
        assert (await again).bundle.sha256 == DIGEST


async def test_uploads_of_one_bundle_at_the_same_time(coordinator: RunningCoordinator) -> None:
    answers = await asyncio.gather(*(upload(coordinator, parts(step=50_000)) for _ in range(4)))
    assert {answer.bundle.sha256 for answer in answers} == {DIGEST}
    assert len(stored(coordinator)) == 1


@pytest.mark.parametrize(
    "requests,code,reason",
    [
        (lambda: parts(CONTENT[:-1], size=len(CONTENT)), grpc.StatusCode.INVALID_ARGUMENT, "SizeMismatch"),
        (lambda: parts(CONTENT + b"x", size=len(CONTENT)), grpc.StatusCode.INVALID_ARGUMENT, "SizeMismatch"),
        (lambda: parts(b"x" + CONTENT[1:]), grpc.StatusCode.INVALID_ARGUMENT, "DigestMismatch"),
        (lambda: parts(sha256="../../x"), grpc.StatusCode.INVALID_ARGUMENT, "InvalidDigest"),
        (lambda: parts(size=1 << 50), grpc.StatusCode.RESOURCE_EXHAUSTED, "BundleTooLarge"),
        (lambda: iter([]), grpc.StatusCode.INVALID_ARGUMENT, "UploadHeaderMissing"),
        (
            lambda: iter([pb.UploadBundleRequest(content=b"x")]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "UploadHeaderMissing",
        ),
        (
            lambda: iter([next(parts()), next(parts())]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "UploadHeaderRepeated",
        ),
    ],
)
async def test_a_wrong_upload_is_refused_and_leaves_nothing(
    coordinator: RunningCoordinator, requests: object, code: grpc.StatusCode, reason: str
) -> None:
    assert callable(requests)
    refused, fault = await refusal(upload(coordinator, requests()))
    assert (refused, fault.reason) == (code, reason)
    assert stored(coordinator) == []


async def test_an_uploader_that_goes_away_leaves_nothing(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        call = bundles_stub(channel).UploadBundle(metadata=coordinator.admin)
        requests = parts()
        await call.write(next(requests))
        await call.initial_metadata()
        await call.write(next(requests))
        call.cancel()
    # The same bundle again: its upload ends after the other one was cleaned up.
    await upload(coordinator, parts())
    assert [path.name for path in stored(coordinator)] == [DIGEST]


async def test_a_revision_needs_a_good_app_spec(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        inventory = inventory_stub(channel)
        application = inventory_pb2.CreateApplicationRequest(name="shop")
        await inventory.CreateApplication(application, metadata=coordinator.admin)
        for app_spec, expected in (
            (None, "there is no appspec.yml at its root"),
            ("version: 0.0\nos: plan9\nhooks:\n  Nonsense: []\n", "appspec.yml:2:"),
        ):
            content = packed(app_spec)
            digest = hashlib.sha256(content).hexdigest()
            answer = await upload(coordinator, parts(content, sha256=digest))
            location = types_pb2.RevisionLocation(bundle=answer.bundle)
            request = inventory_pb2.RegisterRevisionRequest(application_name="shop", location=location)
            code, fault = await refusal(inventory.RegisterRevision(request, metadata=coordinator.admin))
            assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidRevisionException")
            assert expected in fault.message
        listed = await inventory.ListRevisions(
            inventory_pb2.ListRevisionsRequest(application_name="shop"), metadata=coordinator.admin
        )
    assert list(listed.revisions) == []


def packed(app_spec: str | None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme", "")
        if app_spec is not None:
            archive.writestr("appspec.yml", app_spec)
    return buffer.getvalue()


async def test_metrics_health_and_bundles_share_the_http_port(coordinator: RunningCoordinator) -> None:
    await upload(coordinator, parts())
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{coordinator.ready.http_url}/readyz") as response:
            assert response.status == 200
        async with client.get(f"{coordinator.ready.http_url}/metrics") as response:
            text = await response.text()
        async with client.get(f"{coordinator.ready.http_url}/bundles/{DIGEST}") as response:
            assert response.status == 403
    for line in (
        "ferryman_agents_connected 0.0",
        "ferryman_deployments_unfinished 0.0",
        'ferryman_deployments_ended_total{status="Succeeded"} 0.0',
        'ferryman_api_calls_total{code="OK",method="ferryman.v1.BundleService/UploadBundle"} 1.0',
    ):
        assert line in text.splitlines()
    assert "ferryman_store_transaction_seconds_total" in text
