"""Fetches bundles to one place, by a thread or a child process, and remembers what it heard; no pause takes time."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.bundles.address import shown_url
from ferryman_agent.bundles.child_hands import ChildHands
from ferryman_agent.bundles.fetch import Fetched, fetch
from ferryman_agent.bundles.hands import Hands, ThreadHands
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.origins import pauses_of, request_for
from ferryman_agent.bundles.route import Route
from ferryman_agent.bundles.transport import Transport
from ferryman_agent.bundles.wanted import Attempt
from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.errors import BundleError

LIMITS = BundleLimits(retry_pauses=(0, 0, 0), disk_reserve_bytes=0)


class ManualTime:
    """A clock that only moves when somebody waits, and then at once; remembers every wait."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Fetcher:
    """`hands`: who works, a thread unless `is_child`."""

    def __init__(self, folder: Path, *, is_child: bool = False) -> None:
        self.destination = folder / "bundle.tar"
        self.route = Route()
        self.time = ManualTime()
        self.transport = Transport(
            sleep=self.time.sleep, monotonic=self.time.monotonic, random_number=lambda: 0.0
        )
        self.progress: list[tuple[int, int | None]] = []
        self._is_child = is_child
        self._more = asyncio.Event()

    @property
    def pauses(self) -> list[float]:
        return self.time.pauses

    async def has(self, count: int) -> None:
        """Returns once so many bytes have come."""
        while not self.progress or self.progress[-1][0] < count:
            self._more.clear()
            await self._more.wait()

    def _heard(self, received: int, total: int | None) -> None:
        self.progress.append((received, total))
        self._more.set()

    async def __call__(
        self, url: str, *, sha256: str | None = None, size: int | None = None, **given: Any
    ) -> Fetched:
        limits = given.pop("limits", LIMITS)
        pauses = given.pop("pauses", limits.retry_pauses)
        wanted = Attempt(
            url=url,
            label=shown_url(url),
            destination=str(self.destination),
            route=self.route,
            limits=limits,
            sha256=sha256,
            size_bytes=size,
        )
        hands: Hands = ChildHands() if self._is_child else ThreadHands()
        try:
            with self.transport.rate.share(hands):
                return await fetch(
                    replace(wanted, **given),
                    hands=hands,
                    transport=self.transport,
                    retry_pauses=pauses,
                    on_progress=self._heard,
                )
        finally:
            await hands.close()

    async def deployment(self, deployment: DeploymentDescription) -> Fetched:
        """Fetches what DownloadBundle would for a deployment."""
        wanted = request_for(
            deployment, self.destination, self.route, LIMITS, deployment.revision.sha256 or None
        )
        pauses = pauses_of(deployment.revision, LIMITS)
        return await fetch(
            wanted,
            hands=ThreadHands(),
            transport=self.transport,
            retry_pauses=pauses,
            on_progress=self._heard,
        )

    async def refused_deployment(self, deployment: DeploymentDescription) -> BundleError:
        """Sees that it fails and that nothing is left behind."""
        with pytest.raises(BundleError) as error:
            await self.deployment(deployment)
        assert os.listdir(self.destination.parent) == [], "something was left behind"
        return error.value

    async def refused(self, url: str, **given: Any) -> BundleError:
        """Sees that it fails and that nothing is left behind."""
        with pytest.raises(BundleError) as error:
            await self(url, **given)
        assert os.listdir(self.destination.parent) == [], "something was left behind"
        return error.value
