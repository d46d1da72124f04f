"""Bundles fetched ahead of their turn (D7): a few at a time, beside whatever runs, and never twice at once.

A deployment's directory has one writer of its archive: a prefetch and the DownloadBundle event take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from ferryman_agent.core.messages import DeploymentDescription, DeploymentId
from ferryman_agent.errors import EventError

AT_ONCE = 2
QUEUE_LIMIT = 1000

Fetch = Callable[[DeploymentDescription], Awaitable[None]]
Done = Callable[[DeploymentId, str], None]

log = structlog.stdlib.get_logger(__name__)


class ArchiveTurns:
    """Whose turn it is in a deployment's directory."""

    def __init__(self) -> None:
        self._turns: dict[DeploymentId, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def of(self, deployment_id: DeploymentId) -> AsyncIterator[None]:
        """Waits for the turn and keeps it for the body."""
        lock, users = self._turns.get(deployment_id, (asyncio.Lock(), 0))
        self._turns[deployment_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._turns[deployment_id]
            if users == 1:
                del self._turns[deployment_id]
            else:
                self._turns[deployment_id] = (lock, users - 1)


class Prefetches:
    """`fetch` gets and verifies an archive or raises EventError; `done` hears how each request ended."""

    def __init__(self, fetch: Fetch, done: Done, turns: ArchiveTurns, *, at_once: int = AT_ONCE) -> None:
        self._fetch = fetch
        self._done = done
        self._turns = turns
        self._places = asyncio.Semaphore(at_once)
        self._tasks: dict[DeploymentId, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Owns the tasks until `end`."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._ended.wait()
            for task in self._tasks.values():
                task.cancel()

    def end(self) -> None:
        """Lets `run` return; what is not fetched yet is left."""
        self._group = None
        self._ended.set()

    def request(self, deployment: DeploymentDescription) -> None:
        """Fetches the deployment's bundle when there is a place. A request that is under way is not repeated."""
        deployment_id = deployment.deployment_id
        if self._group is None or deployment_id in self._tasks:
            return
        if len(self._tasks) >= QUEUE_LIMIT:
            self._done(deployment_id, f"more than {QUEUE_LIMIT} bundles wait to be fetched")
            return
        task = self._group.create_task(self._one(deployment), name=f"prefetch {deployment_id}")
        self._tasks[deployment_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(deployment_id, None))

    def forget(self, deployment_id: DeploymentId) -> None:
        """Nobody will want this bundle."""
        if deployment_id in self._tasks:
            self._tasks[deployment_id].cancel()

    async def _one(self, deployment: DeploymentDescription) -> None:
        error = ""
        try:
            async with self._places, self._turns.of(deployment.deployment_id):
                await self._fetch(deployment)
        except EventError as failure:
            # Its DownloadBundle event tries again, and that is the one that counts.
            error = failure.message
        except Exception as failure:
            # Its event meets the same mistake and fails with it; here it must not cost the agent.
            log.exception("prefetch.broke", deployment_id=deployment.deployment_id)
            error = f"{type(failure).__name__}: {failure}"
        log.info("prefetch.ended", deployment_id=deployment.deployment_id, error=error)
        self._done(deployment.deployment_id, error)
