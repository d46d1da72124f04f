"""What the coordinator keeps to reach others with: tokens for GitHub; and addresses for uploads into S3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ferryman_coordinator.bundles.github_tokens import GitHubTokens, NamedToken
from ferryman_coordinator.bundles.s3 import Upload
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import BundleType, S3Location
from ferryman_coordinator.operations.locations import check_location, check_token_name


class Uploads(Protocol):
    """Makes addresses that one object can be uploaded to."""

    async def prepare_upload(self, location: S3Location, size_bytes: int) -> Upload: ...


class Connections:
    """What can be asked about them. A token that is stored never comes back (PF-290)."""

    def __init__(self, tokens: GitHubTokens, uploads: Uploads, clock: Clock) -> None:
        self._tokens = tokens
        self._uploads = uploads
        self._clock = clock

    async def put_token(self, name: str, token: str) -> NamedToken:
        """Stores or replaces a token. Raises Invalid, LimitExceeded at 25 (AG-530)."""
        return await self._tokens.put(check_token_name(name), token.strip(), self._clock.now())

    def tokens(self) -> Sequence[NamedToken]:
        """Names and times, in the order of the names."""
        return self._tokens.names()

    async def remove_token(self, name: str) -> None:
        """Removing what is not there succeeds; revisions that name it cannot be deployed until it is back."""
        await self._tokens.remove(check_token_name(name))

    async def prepare_upload(self, bucket: str, key: str, size_bytes: int) -> Upload:
        """An address that the object can be put to, for an hour (AG-517). Raises what `S3Store` raises."""
        location = S3Location(bucket=bucket, object_key=key, bundle_type=BundleType.ZIP)
        check_location(location)
        return await self._uploads.prepare_upload(location, size_bytes)
