"""Revisions elsewhere over the wire: lists, look-ups, tokens, uploads; and a restart with S3 among what lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from ferryman.v1 import bundles_pb2, deployments_pb2, types_pb2
from ferryman.v1 import inventory_pb2 as pb
from ferryman.v1 import tokens_pb2 as tokens
from tests.support.coordinator import (
    RunningCoordinator,
    bundles_stub,
    deployments_stub,
    inventory_stub,
    refusal,
    running_coordinator,
    tokens_stub,
)
from tests.support.github import COMMIT, TOKEN, FakeGitHub
from tests.support.s3 import S3Server
from tests.support.wire_agent import connected

GITHUB = types_pb2.RevisionLocation(
    github=types_pb2.GitHubLocation(repository="acme/web", commit_id=COMMIT, token_name="acme")
)
ALL_AT_ONCE = "CodeDeployDefault.AllAtOnce"


def s3(bucket: str, key: str = "web/1.zip", **pins: str) -> types_pb2.RevisionLocation:
    return types_pb2.RevisionLocation(
        s3=types_pb2.S3Location(bucket=bucket, key=key, bundle_type=types_pb2.BUNDLE_TYPE_ZIP, **pins)
    )


@pytest.fixture
def settings(s3_server: S3Server, github: FakeGitHub, tmp_path: Path) -> dict[str, str]:
    github.repositories = {"acme/web": {"appspec.yml": "version: 0.0\nos: linux\n"}}
    return s3_server.settings(tmp_path / "keys") | {"github.api_url": github.api_url}


@pytest.fixture
async def running(settings: Mapping[str, str], tmp_path: Path) -> AsyncIterator[RunningCoordinator]:
    async with running_coordinator(tmp_path / "data", settings) as coordinator:
        await call(
            coordinator,
            lambda channel: inventory_stub(channel).CreateApplication,
            pb.CreateApplicationRequest(name="web"),
        )
        yield coordinator


async def call(
    coordinator: RunningCoordinator, method: Callable[[grpc.aio.Channel], Any], request: Any
) -> Any:
    """As the administrator."""
    async with coordinator.channel() as channel:
        return await method(channel)(request, metadata=coordinator.admin)


async def register(coordinator: RunningCoordinator, location: types_pb2.RevisionLocation) -> pb.Revision:
    request = pb.RegisterRevisionRequest(application_name="web", location=location)
    answer = await call(coordinator, lambda channel: inventory_stub(channel).RegisterRevision, request)
    revision: pb.Revision = answer.revision
    return revision


async def labels(coordinator: RunningCoordinator, **wanted: Any) -> list[str]:
    request = pb.ListRevisionsRequest(application_name="web", **wanted)
    answer = await call(coordinator, lambda channel: inventory_stub(channel).ListRevisions, request)
    return [one.label for one in answer.revisions]


async def deploy(
    coordinator: RunningCoordinator, location: types_pb2.RevisionLocation, request_key: str = ""
) -> str:
    options = deployments_pb2.DeploymentOptions(
        application_name="web",
        deployment_group_name="all",
        revision=location,
        deployment_config_name=ALL_AT_ONCE,
    )
    request = deployments_pb2.CreateDeploymentRequest(options=options, request_key=request_key)
    answer = await call(coordinator, lambda channel: deployments_stub(channel).CreateDeployment, request)
    return str(answer.deployment_id)


async def make_application(coordinator: RunningCoordinator) -> None:
    request = pb.CreateApplicationRequest(name="web")
    await call(coordinator, lambda channel: inventory_stub(channel).CreateApplication, request)


async def make_group(coordinator: RunningCoordinator) -> None:
    request = pb.CreateDeploymentGroupRequest(
        application_name="web",
        name="all",
        selection=pb.Selection(tag_filters=[pb.TagFilter(key="app", value="web")]),
    )
    await call(coordinator, lambda channel: inventory_stub(channel).CreateDeploymentGroup, request)


@pytest.mark.req("AG-526", "AG-527", "AG-528", "CP-202", "CP-204", "CP-205", "CP-208")
async def test_places_go_in_and_come_out(running: RunningCoordinator) -> None:
    pinned = s3("builds", version="v1", e_tag="abc", sha256="a" * 64)
    for location in (pinned, s3("builds", "other.zip"), s3("more"), GITHUB):
        registered = await register(running, location)
        assert registered.location.WhichOneof("source") == location.WhichOneof("source")
    answer = await call(
        running,
        lambda channel: inventory_stub(channel).GetRevision,
        pb.GetRevisionRequest(application_name="web", location=pinned),
    )
    assert answer.revision.location == pinned
    assert answer.revision.label == "s3://builds/web/1.zip?versionId=v1&eTag=abc"
    found = await call(
        running,
        lambda channel: inventory_stub(channel).GetRevision,
        pb.GetRevisionRequest(application_name="web", revision=f"acme/web@{COMMIT}"),
    )
    assert found.revision.location.github.token_name == "acme"
    assert found.revision.location.github.bundle_type == types_pb2.BUNDLE_TYPE_TAR
    assert await labels(running, source=pb.REVISION_SOURCE_GITHUB) == [f"acme/web@{COMMIT}"]
    assert len(await labels(running, s3_bucket="builds")) == 2
    assert await labels(running, s3_bucket="builds", s3_key_prefix="o") == ["s3://builds/other.zip"]
    assert await labels(running, target=pb.REVISION_TARGET_FILTER_INCLUDE) == []
    assert len(await labels(running, target=pb.REVISION_TARGET_FILTER_EXCLUDE)) == 4
    async with running.channel() as channel:
        code, fault = await refusal(
            inventory_stub(channel).ListRevisions(
                pb.ListRevisionsRequest(application_name="web", s3_key_prefix="o"), metadata=running.admin
            )
        )
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BucketNameFilterRequiredException")


@pytest.mark.req("AG-530", "PF-290", "PF-291")
async def test_tokens_are_named_and_never_shown(running: RunningCoordinator, tmp_path: Path) -> None:
    put = tokens.PutGitHubTokenRequest(name="acme", token=f"{TOKEN}\n")
    stored = await call(running, lambda channel: tokens_stub(channel).PutGitHubToken, put)
    assert stored.git_hub_token.name == "acme"
    listed = await call(
        running, lambda channel: tokens_stub(channel).ListGitHubTokens, tokens.ListGitHubTokensRequest()
    )
    assert [one.name for one in listed.git_hub_tokens] == ["acme"]
    assert TOKEN not in f"{stored}{listed}"
    for _ in range(2):
        await call(
            running,
            lambda channel: tokens_stub(channel).RemoveGitHubToken,
            tokens.RemoveGitHubTokenRequest(name="acme"),
        )
    async with running.channel() as channel:
        for name, token, reason in (
            ("../x", TOKEN, "InvalidGitHubAccountTokenNameException"),
            ("acme", "", "InvalidGitHubAccountTokenException"),
        ):
            code, fault = await refusal(
                tokens_stub(channel).PutGitHubToken(
                    tokens.PutGitHubTokenRequest(name=name, token=token), metadata=running.admin
                )
            )
            assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_an_upload_that_cannot_be_is_refused(running: RunningCoordinator) -> None:
    async with running.channel() as channel:
        for bucket, key, reason in (
            ("", "k.zip", "InvalidRevisionException"),
            ("builds", "", "InvalidRevisionException"),
            ("no-such-bucket-at-all", "k.zip", "RevisionDoesNotExistException"),
        ):
            request = bundles_pb2.PrepareS3UploadRequest(bucket=bucket, key=key, size_bytes=1)
            _, fault = await refusal(bundles_stub(channel).PrepareS3Upload(request, metadata=running.admin))
            assert fault.reason == reason


@pytest.mark.req("AG-230", "V2-141")
async def test_a_token_that_is_replaced_counts_with_the_next_order(running: RunningCoordinator) -> None:
    await make_group(running)
    await register(running, GITHUB)
    agent = await running.enrol("web-1", app="web")

    async def put(token: str) -> None:
        request = tokens.PutGitHubTokenRequest(name="acme", token=token)
        await call(running, lambda channel: tokens_stub(channel).PutGitHubToken, request)

    await put(TOKEN)
    await deploy(running, GITHUB)
    seen = []
    for token in (TOKEN, "ghp_replaced000000000000000000"):
        await put(token)
        async with connected(agent) as wire:
            await wire.hello()
            order = await wire.hear("run_segment")
        seen.append(dict(order.run_segment.deployment.download_headers))
        assert order.run_segment.deployment.download_url.endswith(f"/repos/acme/web/tarball/{COMMIT}")
    assert seen == [
        {"Authorization": f"token {TOKEN}"},
        {"Authorization": "token ghp_replaced000000000000000000"},
    ]


@pytest.mark.req("CP-230")
async def test_a_creation_that_is_repeated_is_the_same_although_the_object_was_overwritten(
    running: RunningCoordinator, s3_server: S3Server
) -> None:
    s3_server.make_bucket("repeated", versioned=True)
    version, _ = s3_server.put("repeated", "web/1.zip", b"first")
    await make_group(running)
    first = await deploy(running, s3("repeated"), "key-1")
    newer, _ = s3_server.put("repeated", "web/1.zip", b"second")
    assert await deploy(running, s3("repeated"), "key-1") == first
    assert await deploy(running, s3("repeated", version=version), "key-1") == first
    async with running.channel() as channel:
        options = deployments_pb2.DeploymentOptions(
            application_name="web", deployment_group_name="all", revision=s3("repeated", version=newer)
        )
        request = deployments_pb2.CreateDeploymentRequest(options=options, request_key="key-1")
        _, fault = await refusal(deployments_stub(channel).CreateDeployment(request, metadata=running.admin))
    assert fault.reason == "IdempotentParameterMismatchException"


@pytest.mark.req("CP-199", "PF-301")
async def test_after_a_restart_addresses_are_signed_at_once(
    s3_server: S3Server, settings: Mapping[str, str], tmp_path: Path
) -> None:
    s3_server.make_bucket("restarted", versioned=True)
    version, e_tag = s3_server.put("restarted", "web/1.zip", b"content")
    urls = []
    async with running_coordinator(tmp_path / "again", settings) as first:
        await call(
            first,
            lambda channel: inventory_stub(channel).CreateApplication,
            pb.CreateApplicationRequest(name="web"),
        )
        await make_group(first)
        agent = await first.enrol("web-1", app="web")
        deployment_id = await deploy(first, s3("restarted"))
        async with connected(agent) as wire:
            await wire.hello()
            order = await wire.hear("run_segment")
        urls.append(order.run_segment.deployment.download_url)
        assert order.run_segment.deployment.revision == s3("restarted", version=version, e_tag=e_tag)
    fixed = {
        **settings,
        "listen.grpc": str(first.ready.grpc),
        "listen.agents": str(first.ready.agents),
    }
    async with running_coordinator(tmp_path / "again", fixed):
        async with connected(agent) as wire:
            await wire.hello()
            order = await wire.hear("run_segment")
        assert order.run_segment.command_id.startswith(deployment_id)
        urls.append(order.run_segment.deployment.download_url)
    for url in urls:
        assert url.startswith(f"{s3_server.url}/restarted/web/1.zip?versionId={version}&X-Amz-")
