"""Whose turn it is to work for a deployment group, among the processes of this machine (AG-122, AG-505).

The agent runs the commands of one group one after another by itself; a local deployment is a process of its own, so the
two take turns by a lock on a file that both find below `root_dir`. The kernel lets go of it when its holder dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import structlog

from ferryman_agent.clock import Clock, is_set_within
from ferryman_agent.core.messages import DeploymentId, GroupId
from ferryman_agent.errors import AgentError
from ferryman_agent.files.atomic import make_directory
from ferryman_agent.files.layout import PRIVATE_MODE, Layout
from ferryman_agent.system import fcntl, fs

POLL_SECONDS = 0.5
LOCK_MODE = 0o600
"""Whoever can read a file can lock it, and keep the agent from its work."""

log = structlog.stdlib.get_logger(__name__)


class GroupBusy(AgentError):
    """Another process works for the deployment group."""


class GroupTurns:
    """The turns that this process has: each counted, so that its own commands never stand in each other's way."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        self._held: dict[GroupId, tuple[int, set[DeploymentId]]] = {}

    def hold(self, group: GroupId, deployment: DeploymentId) -> None:
        """Takes the turn at once. Raises GroupBusy, OSError."""
        if group in self._held:
            self._held[group][1].add(deployment)
            return
        path = self._layout.group_lock(group)
        make_directory(path.parent, PRIVATE_MODE)
        descriptor = fs.open(path, fs.O_RDWR | fs.O_CREAT | fs.O_CLOEXEC | fs.O_NOFOLLOW, LOCK_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            fs.pwrite(descriptor, f"{os.getpid()} {deployment}\n".encode(), 0)
        except BlockingIOError:
            os.close(descriptor)
            raise GroupBusy(
                f"deployment group {group} is being worked on by {_holder(path)}: try again when that is done"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        self._held[group] = (descriptor, {deployment})

    async def take(self, group: GroupId, deployment: DeploymentId, stop: asyncio.Event) -> bool:
        """Waits for the turn, at most until `stop`; returns whether it had to wait. Raises OSError.

        It has the turn afterwards unless `stop` is set.
        """
        has_waited = False
        while True:
            try:
                self.hold(group, deployment)
            except GroupBusy as busy:
                if not has_waited:
                    log.warning("group.waits", deployment_id=deployment, reason=str(busy))
                has_waited = True
                if await is_set_within(self._clock, POLL_SECONDS, stop):
                    return True
            else:
                return has_waited

    def release(self, group: GroupId, deployment: DeploymentId) -> None:
        """Gives the turn back, once no deployment of this process needs it."""
        descriptor, users = self._held.get(group, (-1, set()))
        users.discard(deployment)
        if users or descriptor < 0:
            return
        del self._held[group]
        # The file stays: removing it would let two processes lock two files of one name.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _holder(path: Path) -> str:
    """Who holds the lock, for people: what it wrote may be half there."""
    try:
        words = path.read_text("ascii", errors="replace").split()
    except OSError:
        words = []
    return f"deployment {words[1]} (process {words[0]})" if len(words) == 2 else "another process"
