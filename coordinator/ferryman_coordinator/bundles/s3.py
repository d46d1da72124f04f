"""S3 and stores that speak like it: what an object is now, and addresses that let others read or write one object.

The coordinator's keys never leave it: agents and whoever pushes get an address that is good for one object and a while
(D16). Signing is arithmetic with keys that are at hand, so a decision may do it; everything that asks somebody runs in
a thread. Signed by botocore, whose clock is the machine's: the store compares with its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ferryman.locations import bare_e_tag
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import S3, Addressing
from ferryman_coordinator.core.model import Instant, S3Location
from ferryman_coordinator.errors import Denied, Invalid, NotFound, Refused, Unreachable

log = structlog.get_logger(__name__)

PUT_LIMIT = 5 << 30
"""The largest object that one request can bring."""

_REFRESH_MS = 60_000
_CONNECT_S = 5
_READ_S = 10
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
        self.generation = 0
        """Rises when what was signed before may be void."""
        self._settings = settings
        self._clock = clock
        self._loading = asyncio.Lock()
        self._is_wanted = False
        self._session: Any = None
        self._keys: Any = None
        # By region and style; made when the keys are read, and when a bucket shows up in another region.
        self._clients: dict[tuple[str, str], Any] = {}
        self._regions: dict[str, str] = {}

    async def prepare(self) -> None:
        """Reads the keys, once. Until then nothing can be signed. Raises Unreachable when they cannot be had."""
        self._is_wanted = True
        async with self._loading:
            if self._session is None:
                await self._refresh()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep_until(Instant(self._clock.now() + _REFRESH_MS))
            if not self._is_wanted:
                continue
            async with self._loading:
                try:
                    await self._refresh()
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
            self._client_for(location.bucket).generate_presigned_url(
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
        url = self._client_for(location.bucket).generate_presigned_url(
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

        client = self._client_for(bucket)
        call = getattr(client, operation)
        try:
            found: Mapping[str, Any] = await asyncio.to_thread(call, **wanted)
        except ClientError as refused:
            raise await self._refusal(operation, refused.response, wanted) from refused
        except BotoCoreError as problem:
            raise Unreachable(
                "S3Unreachable", f"cannot ask {self.endpoint} about {_name(wanted)}: {problem}"
            ) from problem
        headers = found.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        await self._note_region(bucket, str(headers.get("x-amz-bucket-region", "")))
        return found

    async def _refusal(self, operation: str, answer: Mapping[str, Any], wanted: Mapping[str, str]) -> Refused:
        """PF-304, AG-223: each cause has its own words, and names object and endpoint."""
        about = answer.get("ResponseMetadata", {})
        status, code = int(about.get("HTTPStatusCode", 0)), str(answer.get("Error", {}).get("Code", ""))
        name, at = _name(wanted), self.endpoint
        region = str(about.get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))
        if status == 404 or code in ("NoSuchKey", "NoSuchBucket", "NoSuchVersion", "404"):
            what = "bucket" if operation == "head_bucket" else "object"
            return NotFound("RevisionDoesNotExistException", f"there is no {what} {name} at {at}")
        if status in (401, 403):
            return Denied(
                "S3AccessDenied",
                f"{at} does not let the coordinator read {name}: its key needs s3:GetObject there"
                f" ({'no keys were found: set s3.credentials_file' if self._keys is None else code})",
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

    @property
    def endpoint(self) -> str:
        """For people."""
        return self._settings.endpoint_url or "Amazon S3"

    # Keys and clients -------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        """Reads keys that may have changed; signs with the new ones from then on."""
        session, keys = await asyncio.to_thread(self._read_keys)
        if self._session is not None and keys == self._keys:
            return
        wanted = set(self._clients) or {(self._settings.region, style) for style in self._styles}
        clients = {one: await asyncio.to_thread(self._make_client, session, keys, *one) for one in wanted}
        self._session, self._keys, self._clients = session, keys, clients
        self.generation += 1
        log.info("s3.keys_read", endpoint=self.endpoint, found=keys is not None)

    def _read_keys(self) -> tuple[Any, Any]:
        """In a thread: reads files, and may ask the machine's provider."""
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        settings = self._settings
        if settings.credentials_file and not Path(settings.credentials_file).is_file():
            raise Unreachable(
                "S3Unreachable",
                f"there is no file {settings.credentials_file}, which s3.credentials_file names",
            )
        session = Session(profile=settings.profile or None)
        if settings.credentials_file:
            session.set_config_variable("credentials_file", settings.credentials_file)
            # Only this file: the environment of the process might hold other keys.
            session.get_component("credential_provider").remove("env")
        try:
            credentials = session.get_credentials()
            return session, None if credentials is None else credentials.get_frozen_credentials()
        except BotoCoreError as problem:
            raise Unreachable("S3Unreachable", f"cannot read the keys for S3: {problem}") from problem

    def _make_client(self, session: Any, keys: Any, region: str, style: str) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config

        settings = self._settings
        config = Config(
            signature_version=UNSIGNED if keys is None else "s3v4",
            s3={"addressing_style": style},
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        return session.create_client(
            "s3",
            region_name=region or session.get_config_variable("region") or "us-east-1",
            endpoint_url=settings.endpoint_url or None,
            verify=settings.ca_file or None,
            aws_access_key_id=None if keys is None else keys.access_key,
            aws_secret_access_key=None if keys is None else keys.secret_key,
            aws_session_token=None if keys is None else keys.token,
            config=config,
        )

    def _client_for(self, bucket: str) -> Any:
        # Amazon's certificates fit one name below a region's: a bucket with a dot in its name goes into the path.
        style = self._styles[-1] if "." in bucket else self._styles[0]
        return self._clients[self._regions.get(bucket, self._settings.region), style]

    @property
    def _styles(self) -> tuple[str, ...]:
        """The usual one first. Never botocore's own choice: it signs for a region and names the global endpoint."""
        settings = self._settings
        if settings.addressing is not Addressing.AUTO:
            return (settings.addressing.value,)
        # Most of the compatible stores have no name in DNS for each bucket.
        return ("path",) if settings.endpoint_url else ("virtual", "path")

    async def _note_region(self, bucket: str, region: str) -> None:
        """A bucket in another region just works (AG-225, CP-206): what is signed must name it."""
        if not region or self._regions.get(bucket, self._settings.region) == region:
            return
        for style in self._styles:
            if (region, style) not in self._clients:
                made = await asyncio.to_thread(self._make_client, self._session, self._keys, region, style)
                self._clients[region, style] = made
        self._regions[bucket] = region


def _name(wanted: Mapping[str, str]) -> str:
    key, version = wanted.get("Key"), wanted.get("VersionId")
    name = f"s3://{wanted['Bucket']}" + (f"/{key}" if key else "")
    return name + (f"?versionId={version}" if version else "")


def _shown(location: S3Location) -> str:
    return f"s3://{location.bucket}/{location.object_key}"
