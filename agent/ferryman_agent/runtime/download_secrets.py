"""The newest address and the secret headers of each deployment's bundle, in memory only (V2-141).

What the coordinator sends passes here first, and goes on without the values of its headers: nothing that is journaled
or logged has them. After a restart the coordinator's repeated command brings them again; until then a download waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field, replace

import structlog

from ferryman_agent.core.messages import DeploymentDescription, DeploymentId

MOST = 2000
"""As many as may wait to be prefetched, and the commands beside them."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest that was said of one deployment."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)


class DownloadSecrets:
    """One for each agent."""

    def __init__(self) -> None:
        self._known: OrderedDict[DeploymentId, _Known] = OrderedDict()
        self._news = asyncio.Event()

    def take(self, deployment: DeploymentDescription) -> DeploymentDescription:
        """Remembers what is secret, and returns the deployment without it."""
        headers = deployment.download_headers
        self._known[deployment.deployment_id] = _Known(deployment.revision.url, headers)
        self._known.move_to_end(deployment.deployment_id)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        self._news.set()
        self._news = asyncio.Event()
        return replace(deployment, download_headers=tuple((name, "") for name, _ in headers))

    def forget(self, deployment_id: DeploymentId) -> None:
        """Nobody will fetch this bundle."""
        self._known.pop(deployment_id, None)

    async def complete(self, deployment: DeploymentDescription) -> DeploymentDescription:
        """Returns the deployment with its newest address and its headers; waits for them where they are not known."""
        known = self._known.get(deployment.deployment_id)
        is_told = all(value for _, value in deployment.download_headers)
        if known is None and not is_told:
            log.info("download.waits", reason="the coordinator has to send its token again")
        while known is None and not is_told:
            await self._news.wait()
            known = self._known.get(deployment.deployment_id)
        if known is None:
            return deployment
        revision = replace(deployment.revision, url=known.url)
        return replace(deployment, revision=revision, download_headers=known.headers)
