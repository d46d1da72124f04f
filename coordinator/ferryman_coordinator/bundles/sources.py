"""Where agents fetch a revision from, of whatever kind it is, and what a deployment of it is pinned to.

Satisfies `engine.dispatch.Downloads` and `operations.deployment_options.Sources`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferryman_coordinator.bundles.github import GitHubArchives
from ferryman_coordinator.bundles.s3 import S3Store
from ferryman_coordinator.bundles.urls import BundleUrls
from ferryman_coordinator.core.model import (
    BundleLocation,
    GitHubLocation,
    Instant,
    RevisionLocation,
    S3Location,
)
from ferryman_coordinator.links.orders import Download


class Sources:
    """All of them together."""

    def __init__(self, urls: BundleUrls, s3: S3Store, github: GitHubArchives) -> None:
        self._urls = urls
        self._s3 = s3
        self._github = github

    @property
    def generation(self) -> int:
        """Another number when keys or tokens have changed, so that addresses made before are not sent any more."""
        return self._s3.generation + self._github.tokens.generation

    def download(self, revision: RevisionLocation, now: Instant) -> Download:
        """Where to fetch it and what to bring along; made anew each time, and kept nowhere. No I/O."""
        match revision:
            case BundleLocation():
                return Download(self._urls.sign(revision.sha256, now))
            case S3Location():
                return Download(self._s3.address(revision))
            case GitHubLocation():
                return Download(self._github.address(revision), self._github.headers(revision))
            case _:
                return Download(revision.url)

    async def pin(self, location: RevisionLocation) -> tuple[RevisionLocation, Sequence[str]]:
        """The location of exactly what is there now, and warnings; raises Refused when it cannot be deployed."""
        match location:
            case S3Location():
                return await self._s3.pin(location), ()
            case GitHubLocation():
                return location, await self._github.check(location)
            case _:
                return location, ()
