"""Bundles for events and prefetches: the trust and limits of a fetch. The HTTP library is loaded by the first one."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.config import Config
from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.files.layout import Layout
from ferryman_agent.host.identity import Identity
from ferryman_agent.runtime.work import Progress

if TYPE_CHECKING:
    import aiohttp


class Downloads:
    """`load_identity` gives the CAs that the coordinator's own bundles are served under.

    `in_use` names deployments whose files must not be pruned: commands of theirs run or wait (AG-175).
    """

    def __init__(
        self,
        config: Config,
        layout: Layout,
        load_identity: Callable[[], Identity],
        in_use: Callable[[], frozenset[str]],
    ) -> None:
        self._config = config
        self._layout = layout
        self._load_identity = load_identity
        self._in_use = in_use

    async def download(self, deployment: DeploymentDescription, progress: Progress) -> str:
        """Does the whole DownloadBundle event; returns the message of its success. Raises EventError."""
        from ferryman_agent.bundles.download import download_bundle

        async with self._session(deployment.revision.url) as session:
            report = await download_bundle(
                deployment,
                layout=self._layout,
                session=session,
                limits=self._limits(),
                max_revisions=self._config.bundles.max_revisions,
                on_progress=progress,
                in_use=self._in_use(),
            )
        return report.message

    async def prefetch(self, deployment: DeploymentDescription) -> None:
        """Fetches and verifies only. Raises EventError."""
        from ferryman_agent.bundles.download import prefetch_bundle

        async with self._session(deployment.revision.url) as session:
            await prefetch_bundle(deployment, layout=self._layout, session=session, limits=self._limits())

    @asynccontextmanager
    async def _session(self, url: str) -> AsyncIterator[aiohttp.ClientSession | None]:
        """One session for each bundle: they are rare, and an idle one would hold connections and memory.

        None for what lies on this machine: the HTTP library is not loaded for it.
        """
        if url.lower().startswith("file:"):
            yield None
            return
        import aiohttp

        context: ssl.SSLContext | bool = True
        if url.lower().startswith("https:"):
            context = ssl.create_default_context()
            context.load_verify_locations(cadata=self._load_identity().ca_certificates)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            yield session

    def _limits(self) -> BundleLimits:
        bundles = self._config.bundles
        largest = bundles.max_extracted_size or BundleLimits().max_unpacked_bytes
        return BundleLimits(max_unpacked_bytes=largest, disk_reserve_bytes=bundles.min_free_disk)
