"""A command on this machine: what was answered when it came, and its run until it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum

from ferryman_agent.core.machine import SegmentRun
from ferryman_agent.core.messages import CommandId, GroupId, Segment


class Disposition(Enum):
    """What became of a command that arrived."""

    STARTED = "started"
    QUEUED = "queued"
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    command_id: CommandId
    disposition: Disposition
    reason: str = ""


@dataclass(slots=True)
class LiveCommand:
    """A command that has not ended."""

    run: SegmentRun
    is_announced: bool
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    is_running: bool = False

    @property
    def is_waiting(self) -> bool:
        """Its first event has not begun, for want of its turn."""
        return not self.is_running and not self.run.is_begun

    @property
    def group(self) -> GroupId:
        return self.run.segment.deployment.deployment_group_id

    @property
    def command_id(self) -> CommandId:
        return self.run.segment.command_id

    def refresh_url(self, segment: Segment) -> None:
        """Takes the bundle's address from a repeated command: the old one may have expired while it waited."""
        own = self.run.segment
        revision = replace(own.deployment.revision, url=segment.deployment.revision.url)
        self.run.segment = replace(own, deployment=replace(own.deployment, revision=revision))
