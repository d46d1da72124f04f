"""An agent's end of a stream, played by the test message by message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from ferryman import channel as channel_options
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import types_pb2
from tests.support.coordinator import EnrolledAgent, agents_stub

PATIENCE_S = 10.0


class WireAgent:
    """`say` and `hear` in any order; nothing is answered by itself."""

    def __init__(self, call: grpc.aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse]) -> None:
        self.call = call
        self.last_report = 0
        # Came while something else was waited for.
        self._passed_over: list[pb.ConnectResponse] = []

    async def say(self, **message: Any) -> None:
        await self.call.write(pb.ConnectRequest(**message))

    async def hello(self, **fields: Any) -> pb.Welcome:
        """Says Hello and returns the Welcome."""
        given: dict[str, Any] = {"protocol_version": channel_options.PROTOCOL_VERSION, "agent_version": "1.0"}
        await self.say(hello=pb.Hello(**(given | fields)))
        return (await self.hear("welcome")).welcome

    async def report(self, command_id: str, **fact: Any) -> int:
        """Sends the next report; returns its number."""
        self.last_report += 1
        await self.say(report=pb.Report(number=self.last_report, command_id=command_id, **fact))
        return self.last_report

    async def hear(self, kind: str) -> pb.ConnectResponse:
        """The next message of that kind; others are kept for later."""
        for number, message in enumerate(self._passed_over):
            if message.WhichOneof("message") == kind:
                return self._passed_over.pop(number)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                came = await self.call.read()
                assert isinstance(came, pb.ConnectResponse), f"the stream ended before {kind} came"
                if came.WhichOneof("message") == kind:
                    return came
                self._passed_over.append(came)

    async def hear_ack(self, number: int) -> None:
        """Waits until every report up to `number` is acknowledged."""
        while (await self.hear("report_ack")).report_ack.number < number:
            pass

    async def run_segment(self, segment: pb.RunSegment) -> int:
        """Plays every lifecycle event with success; returns the number of the last report."""
        await self.say(
            command_ack=pb.CommandAck(
                command_id=segment.command_id, disposition=pb.COMMAND_DISPOSITION_STARTED
            )
        )
        success = types_pb2.LIFECYCLE_EVENT_STATUS_SUCCEEDED
        for event in segment.lifecycle_events:
            await self.report(segment.command_id, event_started=pb.EventStarted(lifecycle_event=event))
            diagnostics = types_pb2.Diagnostics(error_code=types_pb2.LIFECYCLE_ERROR_CODE_SUCCESS)
            finished = pb.EventFinished(lifecycle_event=event, status=success, diagnostics=diagnostics)
            await self.report(segment.command_id, event_finished=finished)
        return await self.report(segment.command_id, segment_finished=pb.SegmentFinished(status=success))

    async def ended(self) -> None:
        """Waits for the end of the stream. Raises AioRpcError unless it is a good one."""
        async with asyncio.timeout(PATIENCE_S):
            while isinstance(await self.call.read(), pb.ConnectResponse):
                pass
            await self.call.code()


@asynccontextmanager
async def connected(agent: EnrolledAgent) -> AsyncIterator[WireAgent]:
    """A stream without its Hello."""
    async with agent.channel() as channel:
        call = agents_stub(channel).Connect()
        try:
            yield WireAgent(call)
        finally:
            call.cancel()
