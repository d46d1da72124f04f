"""Keys for S3 and the clients that sign with them: by region of the bucket and by style of the address."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog

from ferryman_coordinator.config.schema import S3, Addressing
from ferryman_coordinator.errors import Unreachable

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

# Two attempts of both stay below what clients wait for an answer of ours.
_CONNECT_S = 3
_READ_S = 8
_AT_ONCE = 4
_OTHER_KEYS = ("env", "boto-config", "container-role", "iam-role")


class S3Clients:
    """Empty until `refresh` has read the keys; `of` never waits."""

    def __init__(self, settings: S3) -> None:
        self.generation = 0
        """Rises with each change of the keys."""
        self.has_keys = False
        self._settings = settings
        self._threads = ThreadPoolExecutor(_AT_ONCE, "s3")
        self._session: Any = None
        self._keys: Any = None
        # Made when the keys are read, and when a bucket shows up in another region.
        self._clients: dict[tuple[str, str], Any] = {}
        self._regions: dict[str, str] = {}

    @property
    def endpoint(self) -> str:
        """For people."""
        return self._settings.endpoint_url or "Amazon S3"

    def __bool__(self) -> bool:
        """Whether the keys have been read."""
        return bool(self._clients)

    async def refresh(self) -> None:
        """Reads keys that may have changed; signs with the new ones from then on. Raises Unreachable."""
        session, keys = await self.in_thread(self._read_keys)
        if self._session is not None and keys == self._keys:
            return
        usual = {(self._settings.region, style) for style in self._styles}
        clients: dict[tuple[str, str], Any] = {}
        # Again, for a region that came up meanwhile.
        while missing := (usual | set(self._clients)) - set(clients):
            for one in missing:
                clients[one] = await self.in_thread(self._make_client, session, keys, *one)
        self._session, self._keys, self._clients = session, keys, clients
        self.has_keys = keys is not None
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
        try:
            if settings.credentials_file:
                session.set_config_variable("credentials_file", settings.credentials_file)
                # Only this file: the process's environment, or the machine, might have other keys.
                for other in _OTHER_KEYS:
                    session.get_component("credential_provider").remove(other)
            credentials = session.get_credentials()
            return session, None if credentials is None else credentials.get_frozen_credentials()
        except BotoCoreError as problem:
            raise Unreachable("S3Unreachable", f"cannot read the keys for S3: {problem}") from problem

    def _make_client(self, session: Any, keys: Any, region: str, style: str) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        settings = self._settings
        config = Config(
            signature_version=UNSIGNED if keys is None else "s3v4",
            s3={"addressing_style": style},
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        try:
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
        except (BotoCoreError, ValueError) as problem:
            raise Unreachable("S3Unreachable", f"cannot use S3 as it is configured: {problem}") from problem

    def of(self, bucket: str) -> Any:
        """The client for a bucket; only after `refresh`."""
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

    async def note_region(self, bucket: str, region: str) -> None:
        """A bucket in another region just works (AG-225, CP-206): what is signed must name it."""
        if not region or self._regions.get(bucket, self._settings.region) == region:
            return
        for style in self._styles:
            if (region, style) not in self._clients:
                made = await self.in_thread(self._make_client, self._session, self._keys, region, style)
                self._clients[region, style] = made
        self._regions[bucket] = region

    async def in_thread(self, work: Callable[..., Answer], *given: Any, **named: Any) -> Answer:
        """In threads of its own: a store that hangs must not keep anybody else from theirs."""
        call = functools.partial(work, *given, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
