"""S3 and stores that speak like it: what an object is now, and addresses that let others read or write one object.

The coordinator's keys never leave it: agents and whoever pushes get an address that is good for one object and a while
(D16). Signing is arithmetic with keys that are at hand, so a decision may do it; everything that asks somebody runs in
a thread. Signed by botocore, whose clock is the machine's: the store compares with its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from ferryman.locations import bare_e_tag
from ferryman_coordinator.bundles.s3_clients import S3Clients
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import S3
from ferryman_coordinator.core.model import Instant, S3Location
from ferryman_coordinator.errors import Denied, Invalid, NotFound, Refused, Unreachable

log = structlog.get_logger(__name__)

PUT_LIMIT = 5 << 30
"""The largest object that one request can bring."""

_REFRESH_MS = 60_000
_UPLOAD_S = 3600
_NO_VERSION = "null"
"""What a bucket without versions says a version is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """How to bring one object: PUT with exactly these headers."""

    url: str
    headers: Mapping[str, str]
    expires_at: Instant

    def __repr__(self) -> str:
        return f"Upload(expires_at={self.expires_at})"


class S3Store:
    """`prepare` once before anything else; `run` keeps the keys fresh."""

    def __init__(self, settings: S3, clock: Clock) -> None:
        self._clients = S3Clients(settings)
        self._settings = settings
        self._clock = clock
        self._loading = asyncio.Lock()
        self._is_wanted = False

    @property
    def generation(self) -> int:
        """Another number when what was signed before may be void."""
        return self._clients.generation

    async def prepare(self) -> None:
        """Reads the keys, once. Until then nothing can be signed. Raises Unreachable when they cannot be had."""
        self._is_wanted = True
        async with self._loading:
            if not self._clients:
                await self._clients.refresh()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep_until(Instant(self._clock.now() + _REFRESH_MS))
            if not self._is_wanted:
                continue
            async with self._loading:
                try:
                    await self._clients.refresh()
                except Unreachable as problem:
                    log.warning("s3.keys_not_refreshed", error=problem.message)

    def address(self, location: S3Location) -> str:
        """Where an agent can get exactly this object for a while; no I/O. Empty before `prepare`."""
        if not self._clients:
            return ""
        wanted = {"Bucket": location.bucket, "Key": location.object_key}
        if location.version:
            wanted["VersionId"] = location.version
        seconds = int(self._settings.url_lifetime) // 1000
        return str(
            self._clients.of(location.bucket).generate_presigned_url(
                "get_object", Params=wanted, ExpiresIn=seconds
            )
        )

    async def pin(self, location: S3Location) -> S3Location:
        """The object as it is now, with its version, if the bucket has such, and its ETag (CP-199, PF-301).

        Raises Invalid, NotFound, Denied when it is not there or not as `location` says, Unreachable.
        """
        await self.prepare()
        wanted = {"Bucket": location.bucket, "Key": location.object_key}
        if location.version:
            wanted["VersionId"] = location.version
        try:
            found = await self._ask("head_object", location.bucket, wanted)
        except NotFound:
            if location.version:
                await self._explain_version(location)
            raise
        e_tag = bare_e_tag(str(found.get("ETag", "")))
        if location.e_tag and location.e_tag != e_tag:
            raise Invalid(
                "InvalidRevisionException",
                f"{_shown(location)} has the ETag {e_tag!r}, not {location.e_tag!r} as the revision says: it was "
                "overwritten; register what is there now, or deploy the version that was meant",
                e_tag=e_tag,
            )
        version = str(found.get("VersionId") or "")
        return S3Location(
            bucket=location.bucket,
            object_key=location.object_key,
            bundle_type=location.bundle_type,
            version=location.version or ("" if version == _NO_VERSION else version),
            e_tag=e_tag,
            sha256=location.sha256,
        )

    async def prepare_upload(self, location: S3Location, size_bytes: int) -> Upload:
        """An address to PUT one object to (AG-517). Raises Invalid, NotFound, Denied, Unreachable."""
        if size_bytes > PUT_LIMIT:
            raise Invalid(
                "BundleTooLarge",
                f"{size_bytes} bytes are more than the {PUT_LIMIT} that one upload can bring: use the coordinator's"
                " own store, or upload it by other means and register it",
            )
        await self.prepare()
        try:
            await self._ask("head_bucket", location.bucket, {"Bucket": location.bucket})
        except Denied:
            # Keys that may only write objects may not look at the bucket; whether they may, the upload shows.
            log.debug("s3.bucket_not_shown", bucket=location.bucket)
        url = self._clients.of(location.bucket).generate_presigned_url(
            "put_object",
            Params={"Bucket": location.bucket, "Key": location.object_key},
            ExpiresIn=_UPLOAD_S,
        )
        expires = Instant(self._clock.now() + _UPLOAD_S * 1000)
        return Upload(url=str(url), headers={}, expires_at=expires)

    async def _explain_version(self, location: S3Location) -> None:
        """Raises NotFound that names the version, if the object itself is there."""
        await self._ask(
            "head_object", location.bucket, {"Bucket": location.bucket, "Key": location.object_key}
        )
        raise NotFound(
            "RevisionDoesNotExistException",
            f"s3://{location.bucket}/{location.object_key} has no version {location.version!r}: it was deleted, or "
            "never was; register one that is there",
        )

    async def _ask(self, operation: str, bucket: str, wanted: Mapping[str, str]) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._clients.of(bucket)
        call = getattr(client, operation)
        try:
            found: Mapping[str, Any] = await self._clients.in_thread(call, **wanted)
        except ClientError as refused:
            raise await self._refusal(operation, refused.response, wanted) from refused
        except BotoCoreError as problem:
            raise Unreachable(
                "S3Unreachable", f"cannot ask {self._clients.endpoint} about {_name(wanted)}: {problem}"
            ) from problem
        headers = found.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        await self._clients.note_region(bucket, str(headers.get("x-amz-bucket-region", "")))
        return found

    async def _refusal(self, operation: str, answer: Mapping[str, Any], wanted: Mapping[str, str]) -> Refused:
        """PF-304, AG-223: each cause has its own words, and names object and endpoint."""
        about = answer.get("ResponseMetadata", {})
        status, code = int(about.get("HTTPStatusCode", 0)), str(answer.get("Error", {}).get("Code", ""))
        name, at = _name(wanted), self._clients.endpoint
        region = str(about.get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))
        if status == 404 or code in ("NoSuchKey", "NoSuchBucket", "NoSuchVersion", "404"):
            what = "bucket" if operation == "head_bucket" else "object"
            return NotFound("RevisionDoesNotExistException", f"there is no {what} {name} at {at}")
        if status in (401, 403):
            return Denied(
                "S3AccessDenied",
                f"{at} does not let the coordinator read {name}: its key needs s3:GetObject there"
                f" ({'no keys were found: set s3.credentials_file' if not self._clients.has_keys else code})",
            )
        if status in (301, 307, 400) and region:
            return Invalid("InvalidRevisionException", f"{name} is in region {region}: set s3.region")
        if status == 405:
            return NotFound(
                "RevisionDoesNotExistException", f"{name} at {at} was deleted: its version is a mark"
            )
        if status >= 500 or status == 429:
            return Unreachable(
                "S3Unreachable", f"{at} cannot tell about {name} now: it answers {status} {code}"
            )
        return Invalid("InvalidRevisionException", f"{at} refuses {name}: it answers {status} {code}")


def _name(wanted: Mapping[str, str]) -> str:
    key, version = wanted.get("Key"), wanted.get("VersionId")
    name = f"s3://{wanted['Bucket']}" + (f"/{key}" if key else "")
    return name + (f"?versionId={version}" if version else "")


def _shown(location: S3Location) -> str:
    return f"s3://{location.bucket}/{location.object_key}"
