"""No room under the database: writes are refused in a sentence, streams stay, and with room nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import inventory_pb2
from tests.support.coordinator import inventory_stub, refusal, running_coordinator
from tests.support.small_disk import small_disk
from tests.support.wire_agent import connected

MIB = 1024 * 1024


@pytest.mark.timeout(120)
async def test_writes_are_refused_streams_stay_and_all_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 24 * MIB) as small:
        async with running_coordinator(small / "data") as coordinator:
            enrolled = await coordinator.enrol("web-1")
            async with connected(enrolled) as agent, coordinator.channel() as channel:
                await agent.hello()
                stub = inventory_stub(channel)
                fill(small / "ballast")
                code, fault = await until_refused(stub, coordinator.admin)
                assert code is grpc.StatusCode.UNAVAILABLE
                assert "the coordinator cannot reach its database: try again soon" in fault
                # The agent is still there, and is heard.
                await agent.say(heartbeat=pb.Heartbeat())
                shown = await stub.GetInstance(
                    inventory_pb2.GetInstanceRequest(instance="web-1"), metadata=coordinator.admin
                )
                assert shown.instance.is_connected
                (small / "ballast").unlink()
                await stub.CreateApplication(
                    inventory_pb2.CreateApplicationRequest(name="after"), metadata=coordinator.admin
                )
                await agent.say(heartbeat=pb.Heartbeat())
                assert not agent.call.done()
        # What was acknowledged is there after a restart too.
        async with running_coordinator(small / "data") as again, again.channel() as channel:
            found = await inventory_stub(channel).GetApplication(
                inventory_pb2.GetApplicationRequest(name="after"), metadata=again.admin
            )
            assert found.application.name == "after"


def fill(path: Path) -> None:
    """Takes all the room there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(64 * 1024)):
                pass
        except OSError:
            return


async def until_refused(stub: object, metadata: object) -> tuple[grpc.StatusCode, str]:
    """The log of the database has some room of its own; then it is over."""
    for number in range(2000):
        request = inventory_pb2.CreateApplicationRequest(name=f"app-{number}-{'x' * 80}")
        try:
            await stub.CreateApplication(request, metadata=metadata)  # type: ignore[attr-defined]  # an inventory stub
        except grpc.aio.AioRpcError:
            code, fault = await refusal(stub.CreateApplication(request, metadata=metadata))  # type: ignore[attr-defined]
            return code, fault.message
        await asyncio.sleep(0)
    raise AssertionError("the disk did not get full")
