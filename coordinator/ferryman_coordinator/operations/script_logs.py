"""All that the scripts of one target printed, fetched from its instance while somebody reads it (AG-459).

One piece is asked for after the other, each once the one before is taken: nothing is kept here, and a slow reader holds
up nobody but itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from ferryman_coordinator.core.model import DeploymentId, GroupId, InstanceId
from ferryman_coordinator.errors import Conflict, NotFound
from ferryman_coordinator.links.orders import ReadLogOrder
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations.deployments import Deployments

WAIT_S = 30.0
"""For one piece."""
LARGEST_BYTES = 16 << 30
"""Of one log; an agent that never comes to an end is not read for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """What an agent answers."""

    content: bytes
    next_offset: int
    is_last: bool
    error: str = ""


class ScriptLogs:
    def __init__(self, links: Links, deployments: Deployments) -> None:
        self._links = links
        self._deployments = deployments
        self._waiting: dict[tuple[InstanceId, str], asyncio.Future[LogPiece]] = {}

    def take(self, instance_id: InstanceId, read_id: str, piece: LogPiece) -> None:
        """Hears an agent's answer; one that nobody waits for, or of another instance, is dropped."""
        waiter = self._waiting.get((instance_id, read_id))
        if waiter is not None and not waiter.done():
            waiter.set_result(piece)

    async def read(self, deployment_id: str, instance: str) -> AsyncGenerator[bytes, None]:
        """Yields the log in pieces of whole lines.

        Raises what `Deployments.target` raises, NotFound (ScriptLogDoesNotExistException), Conflict
        (InstanceNotConnectedException, InstanceSilentException).
        """
        target = await self._deployments.target(deployment_id, instance)
        deployment = await self._deployments.get(deployment_id)
        instance_id, name = target.record.instance_id, target.record.instance_name
        offset = 0
        while offset < LARGEST_BYTES:
            try:
                async with asyncio.timeout(WAIT_S):
                    piece = await self._ask(
                        instance_id, deployment.group_id, deployment.deployment_id, offset
                    )
            except TimeoutError:
                raise Conflict(
                    "InstanceSilentException",
                    f"the agent of instance {name} has not answered within {WAIT_S:g} s: look at what it does"
                    " (`ferryman-agent status` there); agents older than this coordinator never answer",
                ) from None
            if piece is None:
                raise Conflict(
                    "InstanceNotConnectedException",
                    f"instance {name} is not connected to this coordinator: its log is read from its own disk,"
                    " so try again when it is back (`ferryman instance show`)",
                )
            if piece.error:
                raise NotFound("ScriptLogDoesNotExistException", f"instance {name}: {piece.error}")
            if piece.content:
                yield piece.content
            if piece.is_last or piece.next_offset <= offset:
                return
            offset = piece.next_offset

    async def _ask(
        self, instance_id: InstanceId, group_id: GroupId, deployment_id: DeploymentId, offset: int
    ) -> LogPiece | None:
        """One piece; None when the instance is not connected."""
        link = self._links.get(instance_id)
        read_id = f"l-{secrets.token_hex(8)}"
        order = ReadLogOrder(read_id=read_id, group_id=group_id, deployment_id=deployment_id, offset=offset)
        if link is None or not link.offer(order):
            return None
        answer: asyncio.Future[LogPiece] = asyncio.get_running_loop().create_future()
        self._waiting[instance_id, read_id] = answer
        try:
            return await answer
        finally:
            del self._waiting[instance_id, read_id]
