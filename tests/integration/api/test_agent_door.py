"""The agents' stream over mutual TLS: greeting, orders, reports, endings."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import bundles_pb2, deployments_pb2, inventory_pb2, types_pb2
from tests.support.coordinator import (
    RunningCoordinator,
    agents_stub,
    bundles_stub,
    deployments_stub,
    inventory_stub,
    refusal,
    running_coordinator,
)
from tests.support.wire_agent import WireAgent, connected

EVENTS = [
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
]


async def instance(coordinator: RunningCoordinator, name: str) -> inventory_pb2.Instance:
    async with coordinator.channel() as channel:
        request = inventory_pb2.GetInstanceRequest(instance=name)
        return (await inventory_stub(channel).GetInstance(request, metadata=coordinator.admin)).instance


async def test_hello_is_answered_with_all_that_an_agent_must_know(coordinator: RunningCoordinator) -> None:
    enrolled = await coordinator.enrol("web-1")
    async with connected(enrolled) as agent:
        welcome = await agent.hello(
            facts=pb.Facts(host_name="h1", agent_version="1.0"), last_acknowledged_report=7
        )
        assert welcome.instance_id == enrolled.instance_id
        assert welcome.heartbeat_interval_ms == 15_000
        port = int(coordinator.ready.http_url.rpartition(":")[2])
        assert (welcome.http_scheme, welcome.http_host, welcome.http_port) == ("http", "", port)
        assert welcome.acknowledged_report == 7
        shown = await instance(coordinator, "web-1")
        assert shown.is_connected
        assert shown.facts.host_name == "h1"


async def test_agents_can_be_sent_elsewhere_for_bundles(tmp_path: Path) -> None:
    settings = {"public.http_url": "https://bundles.example", "agents.heartbeat_interval": "2s"}
    async with (
        running_coordinator(tmp_path / "data", settings) as coordinator,
        connected(await coordinator.enrol("web-1")) as agent,
    ):
        welcome = await agent.hello()
        address = (welcome.http_scheme, welcome.http_host, welcome.http_port)
        assert address == ("https", "bundles.example", 443)
        assert welcome.heartbeat_interval_ms == 2_000
        await agent.say(goodbye=pb.Goodbye())
        await agent.ended()


@pytest.mark.req("AG-035", "AG-091", "AG-T79", "AG-S16", "K24")
async def test_both_ends_learn_how_their_clocks_and_protocols_compare(
    coordinator: RunningCoordinator,
) -> None:
    now_ms = time.time_ns() // 1_000_000
    async with connected(await coordinator.enrol("web-1")) as agent:
        welcome = await agent.hello(now=now_ms + 600_000)
        assert abs(welcome.now - now_ms) < 60_000
        assert welcome.protocol_version == 1
        shown = await instance(coordinator, "web-1")
        assert shown.facts.clock_skew_ms == pytest.approx(600_000, abs=60_000)
    async with connected(await coordinator.enrol("web-2")) as silent:
        await silent.hello()
        assert (await instance(coordinator, "web-2")).facts.clock_skew_ms == 0


@pytest.mark.req("AG-033", "AG-S02")
async def test_agents_that_are_too_old_are_refused_and_told_the_minimum(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data", {"agents.minimum_version": "1.7"}) as coordinator:
        enrolled = await coordinator.enrol("web-1", agent_version="1.7.0")
        for version in ("1.6.9", "1.6", "0", "", "UNKNOWN_VERSION"):
            async with connected(enrolled) as agent:
                await agent.say(hello=pb.Hello(protocol_version=1, agent_version=version))
                code, fault = await refusal(agent.ended())
                assert (code, fault.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "AgentTooOld")
                assert "1.7 and newer" in fault.message
        for version in ("1.7", "1.7.0", "1.10.2rc1", "2.0"):
            async with connected(enrolled) as agent:
                await agent.hello(agent_version=version)
        with pytest.raises(grpc.aio.AioRpcError, match="1.7 and newer"):
            await coordinator.enrol("web-2", agent_version="1.6")


@pytest.mark.req("AG-083", "AG-S23")
async def test_two_machines_with_one_identity_are_found_out(coordinator: RunningCoordinator) -> None:
    enrolled = await coordinator.enrol("web-1")
    first, copied = pb.Facts(host_name="web-1", boot_id="a"), pb.Facts(host_name="clone", boot_id="b")
    async with connected(enrolled) as one, connected(enrolled) as two, connected(enrolled) as again:
        await one.hello(facts=first)
        await two.hello(facts=copied)
        await again.say(hello=pb.Hello(protocol_version=1, facts=first))
        code, fault = await refusal(again.ended())
        assert (code, fault.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "IdentityInUse")
        assert "'clone'" in fault.message
        assert "enroll this one anew" in fault.message
        await two.say(goodbye=pb.Goodbye())
        await two.ended()
    # Alone it is served, and a machine that boots, or only its network comes back, is no second one.
    for facts in (
        first,
        first,
        pb.Facts(host_name="web-1", boot_id="c"),
        pb.Facts(host_name="web-1", boot_id="d"),
    ):
        async with connected(enrolled) as agent:
            await agent.hello(facts=facts)


@pytest.mark.req("AG-143")
async def test_a_host_that_goes_down_is_missed_at_once(coordinator: RunningCoordinator) -> None:
    async with connected(await coordinator.enrol("web-1")) as agent:
        await agent.hello()
        assert (await instance(coordinator, "web-1")).is_connected
        await agent.say(goodbye=pb.Goodbye(reason="the host shuts down", host_going_down=True))
        await agent.ended()
        assert not (await instance(coordinator, "web-1")).is_connected


@pytest.mark.parametrize(
    "first,code,reason",
    [
        (
            pb.ConnectRequest(hello=pb.Hello(protocol_version=2)),
            grpc.StatusCode.FAILED_PRECONDITION,
            "UnsupportedProtocolVersion",
        ),
        (
            pb.ConnectRequest(hello=pb.Hello()),
            grpc.StatusCode.FAILED_PRECONDITION,
            "UnsupportedProtocolVersion",
        ),
        (pb.ConnectRequest(heartbeat=pb.Heartbeat()), grpc.StatusCode.INVALID_ARGUMENT, "HelloExpected"),
        (pb.ConnectRequest(), grpc.StatusCode.INVALID_ARGUMENT, "HelloExpected"),
    ],
)
async def test_a_wrong_beginning_is_refused(
    coordinator: RunningCoordinator, first: pb.ConnectRequest, code: grpc.StatusCode, reason: str
) -> None:
    async with connected(await coordinator.enrol("web-1")) as agent:
        await agent.call.write(first)
        refused, fault = await refusal(agent.ended())
        assert (refused, fault.reason) == (code, reason)


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_is_no_message_is_refused(coordinator: RunningCoordinator, is_first: bool) -> None:
    enrolled = await coordinator.enrol("web-1")
    async with enrolled.channel() as channel:
        call: Any = channel.stream_stream("/ferryman.v1.AgentService/Connect")()
        if not is_first:
            await call.write(pb.ConnectRequest(hello=pb.Hello(protocol_version=1)).SerializeToString())
            await call.read()
        await call.write(b"\xff\xff\xff\xff")
        code, fault = await refusal(call.read())
        assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MalformedRequest")


async def test_a_newer_stream_of_the_same_instance_ends_the_older_one(
    coordinator: RunningCoordinator,
) -> None:
    enrolled = await coordinator.enrol("web-1")
    async with connected(enrolled) as older, connected(enrolled) as newer:
        await older.hello()
        await newer.hello()
        code, fault = await refusal(older.ended())
        assert (code, fault.reason, fault.is_retryable) == (grpc.StatusCode.UNAVAILABLE, "StreamEnded", True)
        assert "superseded" in fault.message
        assert (await instance(coordinator, "web-1")).is_connected
        await newer.say(goodbye=pb.Goodbye(reason="shutdown"))
        await newer.ended()
    assert not (await instance(coordinator, "web-1")).is_connected


@pytest.mark.req("CP-091")
async def test_the_stream_of_an_instance_that_is_deregistered_ends(coordinator: RunningCoordinator) -> None:
    async with connected(await coordinator.enrol("web-1")) as agent:
        await agent.hello()
        async with coordinator.channel() as channel:
            request = inventory_pb2.DeregisterInstanceRequest(instance="web-1")
            await inventory_stub(channel).DeregisterInstance(request, metadata=coordinator.admin)
        code, fault = await refusal(agent.ended())
        assert (code, fault.reason) == (grpc.StatusCode.UNAVAILABLE, "StreamEnded")
        assert "deregistered" in fault.message


async def test_when_the_coordinator_ends_agents_are_asked_to_come_back(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data", {"agents.drain_within": "1500ms"}) as coordinator:
        channel = (await coordinator.enrol("web-1")).channel()
        agent = WireAgent(agents_stub(channel).Connect())
        await agent.hello()
        # The stream stands while the coordinator ends.
    drain = (await agent.hear("drain")).drain
    assert (drain.within_ms, drain.reason) == (1500, "the coordinator ends")
    code, fault = await refusal(agent.ended())
    assert (code, fault.is_retryable) == (grpc.StatusCode.UNAVAILABLE, True)
    await channel.close()


# A deployment ---------------------------------------------------------------------------------------------------------


def bundle() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("appspec.yml", "version: 0.0\nos: linux\n")
    return buffer.getvalue()


async def prepare(coordinator: RunningCoordinator, channel: grpc.aio.Channel) -> types_pb2.RevisionLocation:
    """Application `shop` with group `web` for tag role=web, and a bundle of it."""
    inventory, admin = inventory_stub(channel), coordinator.admin
    await inventory.CreateApplication(inventory_pb2.CreateApplicationRequest(name="shop"), metadata=admin)
    role = inventory_pb2.TagFilter(key="role", value="web")
    group = inventory_pb2.CreateDeploymentGroupRequest(
        application_name="shop", name="web", selection=inventory_pb2.Selection(tag_filters=[role])
    )
    await inventory.CreateDeploymentGroup(group, metadata=admin)
    content = bundle()
    header = bundles_pb2.UploadHeader(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        bundle_type=types_pb2.BUNDLE_TYPE_ZIP,
    )
    parts = [bundles_pb2.UploadBundleRequest(header=header), bundles_pb2.UploadBundleRequest(content=content)]
    uploaded = await bundles_stub(channel).UploadBundle(iter(parts), metadata=admin)
    location = types_pb2.RevisionLocation(bundle=uploaded.bundle)
    revision = inventory_pb2.RegisterRevisionRequest(application_name="shop", location=location)
    await inventory.RegisterRevision(revision, metadata=admin)
    return location


async def order(
    coordinator: RunningCoordinator, channel: grpc.aio.Channel, location: types_pb2.RevisionLocation
) -> str:
    options = deployments_pb2.DeploymentOptions(
        application_name="shop", deployment_group_name="web", revision=location
    )
    request = deployments_pb2.CreateDeploymentRequest(options=options)
    return (
        await deployments_stub(channel).CreateDeployment(request, metadata=coordinator.admin)
    ).deployment_id


@pytest.mark.req("CP-218", "CP-223", "CP-426")
async def test_a_deployment_from_order_to_end(coordinator: RunningCoordinator) -> None:
    enrolled = await coordinator.enrol("web-1", role="web")
    async with coordinator.channel() as channel, connected(enrolled) as agent:
        await agent.hello()
        location = await prepare(coordinator, channel)
        deployment_id = await order(coordinator, channel, location)
        watch = deployments_stub(channel).WatchDeployment(
            deployments_pb2.WatchDeploymentRequest(deployment_id=deployment_id), metadata=coordinator.admin
        )
        segment = (await agent.hear("run_segment")).run_segment
        assert list(segment.lifecycle_events) == EVENTS
        assert segment.command_id == f"{deployment_id}/{enrolled.instance_id}/1/0"
        description = segment.deployment
        assert (description.application_name, description.deployment_group_name) == ("shop", "web")
        assert (description.deployment_creator, description.deployment_type) == ("user", "IN_PLACE")
        assert description.deployment_id == deployment_id
        assert description.deployment_group_id
        assert description.file_exists_behavior == types_pb2.FILE_EXISTS_BEHAVIOR_DISALLOW
        assert description.revision == location
        assert description.download_url.startswith(f"/bundles/{location.bundle.sha256}?expires=")
        logs = deployments_stub(channel).FollowLogs(
            deployments_pb2.FollowLogsRequest(deployment_id=deployment_id), metadata=coordinator.admin
        )
        await agent.say(
            log_lines=pb.LogLines(
                command_id=segment.command_id,
                lifecycle_event="BeforeInstall",
                script_name="a.sh",
                lines=[pb.LogLine(text="hello", at=5)],
                dropped=3,
            )
        )
        line = await logs.read()
        assert isinstance(line, deployments_pb2.FollowLogsResponse)
        assert (line.instance_name, line.text, line.dropped_before) == ("web-1", "hello", 3)
        await agent.hear_ack(await agent.run_segment(segment))
        assert (await agent.hear("forget")).forget.deployment_id == deployment_id
        changes = [change async for change in watch]
    assert changes[0].WhichOneof("change") == "snapshot"
    sequences = [change.sequence for change in changes]
    assert sequences == sorted(sequences)
    final = changes[-1].deployment
    assert final.status == types_pb2.DEPLOYMENT_STATUS_SUCCEEDED
    assert (final.overview.succeeded, final.overview.pending) == (1, 0)
    finished = [
        change.target_event.lifecycle_event.name
        for change in changes
        if change.target_event.lifecycle_event.status == types_pb2.LIFECYCLE_EVENT_STATUS_SUCCEEDED
    ]
    assert finished == EVENTS


async def test_a_command_is_sent_again_to_an_agent_that_comes_back(coordinator: RunningCoordinator) -> None:
    enrolled = await coordinator.enrol("web-1", role="web")
    async with coordinator.channel() as channel:
        location = await prepare(coordinator, channel)
        async with connected(enrolled) as agent:
            await agent.hello()
            await order(coordinator, channel, location)
            first = (await agent.hear("run_segment")).run_segment
        async with connected(enrolled) as agent:
            await agent.hello()
            again = (await agent.hear("run_segment")).run_segment
            assert again.command_id == first.command_id
            await agent.hear_ack(await agent.run_segment(again))


async def test_reports_that_nobody_waits_for_are_acknowledged_all_the_same(
    coordinator: RunningCoordinator,
) -> None:
    enrolled = await coordinator.enrol("web-1")
    async with connected(enrolled) as agent:
        await agent.hello()
        await agent.report("d-UNKNOWN00/x/1/0", event_started=pb.EventStarted(lifecycle_event="Install"))
        await agent.report("d-UNKNOWN00/x/1/0", script_started=pb.ScriptStarted(script_name="a"))
        await agent.report("d-UNKNOWN00/x/1/0", download_progress=pb.DownloadProgress(received_bytes=1))
        # Of a newer agent: no fact, or a status, that is known here.
        await agent.report("d-UNKNOWN00/x/1/0")
        last = await agent.report("d-UNKNOWN00/x/1/0", segment_finished=pb.SegmentFinished())
        await agent.hear_ack(last)


async def test_live_output_of_other_instances_cannot_be_forged(coordinator: RunningCoordinator) -> None:
    honest = await coordinator.enrol("web-1", role="web")
    forger = await coordinator.enrol("evil")
    async with coordinator.channel() as channel, connected(honest) as agent, connected(forger) as evil:
        await agent.hello()
        await evil.hello()
        location = await prepare(coordinator, channel)
        deployment_id = await order(coordinator, channel, location)
        segment = (await agent.hear("run_segment")).run_segment
        logs = deployments_stub(channel).FollowLogs(
            deployments_pb2.FollowLogsRequest(deployment_id=deployment_id), metadata=coordinator.admin
        )
        forged = pb.LogLines(command_id=segment.command_id, lines=[pb.LogLine(text="forged")])
        await evil.say(log_lines=forged)
        last = await evil.report(
            segment.command_id,
            segment_finished=pb.SegmentFinished(status=types_pb2.LIFECYCLE_EVENT_STATUS_SUCCEEDED),
        )
        await evil.hear_ack(last)
        await agent.say(
            log_lines=pb.LogLines(command_id=segment.command_id, lines=[pb.LogLine(text="honest")])
        )
        line = await logs.read()
        assert isinstance(line, deployments_pb2.FollowLogsResponse)
        assert line.text == "honest"
        request = deployments_pb2.GetDeploymentRequest(deployment_id=deployment_id)
        found = await deployments_stub(channel).GetDeployment(request, metadata=coordinator.admin)
        assert found.deployment.status == types_pb2.DEPLOYMENT_STATUS_IN_PROGRESS
        await agent.hear_ack(await agent.run_segment(segment))


async def test_following_ends_with_the_coordinator_in_a_way_that_says_try_again(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data") as coordinator:
        await coordinator.enrol("web-1", role="web")
        channel = coordinator.channel()
        location = await prepare(coordinator, channel)
        deployment_id = await order(coordinator, channel, location)
        watch = deployments_stub(channel).WatchDeployment(
            deployments_pb2.WatchDeploymentRequest(deployment_id=deployment_id), metadata=coordinator.admin
        )
        assert isinstance(await watch.read(), deployments_pb2.WatchDeploymentResponse)
    code, fault = await refusal(read_to_the_end(watch))
    assert (code, fault.is_retryable) == (grpc.StatusCode.UNAVAILABLE, True)
    await channel.close()


async def read_to_the_end(
    call: grpc.aio.UnaryStreamCall[
        deployments_pb2.WatchDeploymentRequest, deployments_pb2.WatchDeploymentResponse
    ],
) -> None:
    while isinstance(await call.read(), deployments_pb2.WatchDeploymentResponse):
        pass


async def read_whole(
    coordinator: RunningCoordinator, channel: grpc.aio.Channel, deployment_id: str, name: str
) -> bytes:
    request = deployments_pb2.ReadScriptLogRequest(deployment_id=deployment_id, instance=name)
    read = deployments_stub(channel).ReadScriptLog(request, metadata=coordinator.admin)
    return b"".join([piece.content async for piece in read])


@pytest.mark.req("AG-459")
async def test_a_whole_log_comes_from_the_instance_piece_by_piece(coordinator: RunningCoordinator) -> None:
    log = b"".join(b"line %d\n" % number for number in range(300))
    enrolled = await coordinator.enrol("web-1", role="web")
    other = await coordinator.enrol("api-1", role="api")
    async with (
        coordinator.channel() as channel,
        connected(enrolled) as agent,
        connected(other) as stranger,
    ):
        await agent.hello()
        await stranger.hello()
        deployment_id = await order(coordinator, channel, await prepare(coordinator, channel))
        await agent.hear("run_segment")

        reading = asyncio.create_task(read_whole(coordinator, channel, deployment_id, "web-1"))
        offset = 0
        while offset < len(log):
            read = (await agent.hear("read_script_log")).read_script_log
            assert (read.deployment_id, read.offset) == (deployment_id, offset)
            # What others say of it, and what nobody asked for, is not heard.
            forged = pb.ScriptLogPiece(read_id=read.read_id, content=b"forged", is_last=True)
            await stranger.say(script_log_piece=forged)
            await agent.say(script_log_piece=pb.ScriptLogPiece(read_id="l-0", content=b"x", is_last=True))
            piece = log[offset : offset + 1000]
            offset += len(piece)
            await agent.say(
                script_log_piece=pb.ScriptLogPiece(
                    read_id=read.read_id, content=piece, next_offset=offset, is_last=offset == len(log)
                )
            )
        assert await reading == log

        reading = asyncio.create_task(read_whole(coordinator, channel, deployment_id, "web-1"))
        read = (await agent.hear("read_script_log")).read_script_log
        await agent.say(script_log_piece=pb.ScriptLogPiece(read_id=read.read_id, error="it has no log"))
        code, fault = await refusal(reading)
        assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "ScriptLogDoesNotExistException")
        assert "web-1: it has no log" in fault.message

        # An instance that is no target of the deployment is not asked.
        code, fault = await refusal(read_whole(coordinator, channel, deployment_id, "api-1"))
        assert fault.reason == "DeploymentTargetDoesNotExistException"
        nobody = deployments_stub(channel).ReadScriptLog(
            deployments_pb2.ReadScriptLogRequest(deployment_id=deployment_id, instance="web-1")
        )
        code, _ = await refusal(nobody.read())
        assert code is grpc.StatusCode.UNAUTHENTICATED

        await agent.say(goodbye=pb.Goodbye())
        await agent.ended()
        code, fault = await refusal(read_whole(coordinator, channel, deployment_id, "web-1"))
        assert fault.reason == "InstanceNotConnectedException"
