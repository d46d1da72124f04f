"""Bundles for events and prefetches: trust, way out, limits and secrets of a fetch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.config import Config
from ferryman_agent.core.messages import DeploymentDescription, DeploymentId
from ferryman_agent.files.layout import Layout
from ferryman_agent.host.identity import Identity
from ferryman_agent.runtime.download_secrets import DownloadSecrets
from ferryman_agent.runtime.proxies import for_downloads
from ferryman_agent.runtime.work import Progress

log = structlog.stdlib.get_logger(__name__)

if TYPE_CHECKING:
    from ferryman_agent.bundles.asking import Ask
    from ferryman_agent.bundles.transport import Transport


class Downloads:
    """`load_identity` gives the CAs that the coordinator's own bundles are served under; None for a local deployment.

    `in_use` names deployments whose files must not be pruned: commands of theirs run or wait (AG-175). `may_spawn`: a
    process that lives on keeps large work out of itself by child processes; a short one has no use for them. `ask`:
    how the coordinator is asked for a small bundle of its own.
    """

    def __init__(
        self,
        config: Config,
        layout: Layout,
        load_identity: Callable[[], Identity | None],
        in_use: Callable[[], frozenset[str]],
        *,
        may_spawn: bool = True,
        ask: Ask | None = None,
    ) -> None:
        self._config = config
        self._layout = layout
        self._load_identity = load_identity
        self._in_use = in_use
        self._may_spawn = may_spawn
        self._ask = ask
        self._secrets = DownloadSecrets()
        self._shared: Transport | None = None
        self._is_ending = False

    def reconfigure(self, config: Config) -> None:
        """Takes a new configuration; a download that goes on hears of its rate only."""
        self._config = config
        if self._shared is not None:
            self._shared.rate.change(config.bundles.download_rate)

    def learn(self, deployment: DeploymentDescription) -> DeploymentDescription:
        """Keeps what is secret of a deployment that the coordinator sends, and returns it without (V2-141)."""
        return self._secrets.take(deployment)

    def forget(self, deployment_id: DeploymentId) -> None:
        """Nothing will ask for this deployment again."""
        self._secrets.forget(deployment_id)

    def end(self) -> None:
        """The agent ends: what is coming in may come to its end, nothing is tried again (V2-055)."""
        self._is_ending = True
        if self._shared is not None:
            self._shared.is_ending.set()

    async def download(self, deployment: DeploymentDescription, progress: Progress) -> str:
        """Does the whole DownloadBundle event; returns the message of its success. Raises EventError."""
        from ferryman_agent.bundles.download import download_bundle

        report = await download_bundle(
            await self._secrets.complete(deployment),
            layout=self._layout,
            limits=self._limits(),
            max_revisions=self._config.bundles.max_revisions,
            on_progress=progress,
            transport=self._transport(),
            in_use=self._in_use(),
        )
        return report.message

    async def prefetch(self, deployment: DeploymentDescription) -> None:
        """Fetches and verifies only. Raises EventError."""
        from ferryman_agent.bundles.download import prefetch_bundle

        await prefetch_bundle(
            await self._secrets.complete(deployment),
            layout=self._layout,
            limits=self._limits(),
            transport=self._transport(),
        )

    def _transport(self) -> Transport:
        """What all downloads share, with the trust and the proxy of now."""
        from ferryman_agent.bundles.route import Route
        from ferryman_agent.bundles.transport import SharedRate, Transport

        if self._shared is None:
            rate = SharedRate(self._config.bundles.download_rate)
            self._shared = Transport(rate=rate, may_spawn=self._may_spawn, ask=self._ask)
            if self._is_ending:
                self._shared.is_ending.set()
        identity = self._load_identity()
        proxy, no_proxy = for_downloads(self._config)
        route = Route(
            ca_certificates=identity.ca_certificates if identity is not None else "",
            proxy=proxy,
            no_proxy=no_proxy,
            trace=self._trace(),
        )
        return replace(self._shared, route=route)

    def _trace(self) -> str:
        if not self._config.log.downloads_wire:
            return ""
        path = self._config.wire_log_path
        log.warning("download.traced", path=str(path), remark="the file grows fast and may hold secrets")
        return str(path)

    def _limits(self) -> BundleLimits:
        bundles = self._config.bundles
        return BundleLimits(
            max_unpacked_bytes=bundles.max_extracted_size or BundleLimits().max_unpacked_bytes,
            disk_reserve_bytes=bundles.min_free_disk,
            require_digest=bundles.require_digest,
            reject_links=bundles.reject_links,
            reject_hard_links=bundles.reject_hard_links,
            reject_set_id=bundles.reject_set_id,
            reuse_archives=bundles.archive_reuse,
            max_revisions_bytes=bundles.max_revisions_size,
        )
