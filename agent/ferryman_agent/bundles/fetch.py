"""Downloads a bundle by HTTP into a temporary name: streamed, resumed, retried where trying again can help.

AG-222, AG-223, AG-226, V2-062, V2-066. The query of an address is a credential and is never shown.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import structlog

from ferryman_agent.bundles.address import shown_url
from ferryman_agent.bundles.limits import MIB, BundleLimits
from ferryman_agent.bundles.part import Part
from ferryman_agent.bundles.space import disk_full, is_disk_full, require_space
from ferryman_agent.bundles.verify import check_digest, check_size
from ferryman_agent.errors import BundleError
from ferryman_agent.threads import in_thread

log = structlog.get_logger(__name__)

Progress = Callable[[int, int | None], None]
"""Hears the bytes received and, once it is known, the total. Called for every piece; the caller thins it out."""

Sleep = Callable[[float], Awaitable[None]]

_RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_DENIED = frozenset({401, 403, 407})
_MISSING = frozenset({404, 410})
_READ_BUFFER = 512 * 1024
_BATCH = 4 * MIB
_ERROR_BODY = 2048
_LONGEST_PAUSE = 300.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete, verified file under its final name."""

    size_bytes: int
    sha256: str
    etag: str


class _TryAgain(Exception):
    """An attempt that failed in a way that may pass. `after` is how long the server asks to wait."""

    def __init__(self, why: str, *, after: float = 0) -> None:
        super().__init__(why)
        self.after = after


async def fetch(
    url: str,
    destination: Path,
    *,
    session: aiohttp.ClientSession,
    limits: BundleLimits,
    sha256: str | None,
    size_bytes: int | None,
    on_progress: Progress,
    sleep: Sleep = asyncio.sleep,
) -> Fetched:
    """Downloads `url` to `destination`, verified when `sha256` (lower-case hexadecimal) is given.

    Raises BundleError when the bundle cannot be had; nothing is left then. When it is cancelled, what was received
    stays for the next call, which resumes if it can verify the result.
    """
    _check_transport(url, sha256)
    part = await in_thread(lambda: Part(destination.with_name(f"{destination.name}.part")))
    download = _Download(url, part, session, limits, sha256, size_bytes, on_progress, sleep)
    try:
        fetched = await download.run()
        await in_thread(lambda: part.finish(destination))
    except OSError as problem:
        part.discard()
        if is_disk_full(problem):
            raise disk_full(f"store the bundle of {shown_url(url)}", destination.parent) from problem
        raise
    except BundleError:
        part.discard()
        raise
    finally:
        part.close()
    return fetched


def _check_transport(url: str, sha256: str | None) -> None:
    try:
        parts = urlsplit(url)
        # A port that is none shows only when it is asked for.
        _ = parts.port
    except ValueError as problem:
        message = f"cannot fetch the bundle: its address cannot be read: {problem}"
        raise BundleError("BUNDLE_URL", message) from problem
    if parts.scheme not in ("http", "https"):
        message = f"cannot fetch {shown_url(url)}: bundles come by https, http or file"
        raise BundleError("BUNDLE_URL", message)
    if parts.scheme == "http" and sha256 is None and not _is_loopback(parts.hostname or ""):
        place = shown_url(url)
        message = (
            f"cannot fetch {place}: http without a SHA-256 proves nothing; use https or register a digest"
        )
        raise BundleError("BUNDLE_UNVERIFIED", message)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(slots=True)
class _Download:
    url: str
    part: Part
    session: aiohttp.ClientSession
    limits: BundleLimits
    sha256: str | None
    size_bytes: int | None
    on_progress: Progress
    sleep: Sleep
    etag: str = ""
    total: int | None = None
    tried: list[str] = field(default_factory=list)
    resumed: bool = False

    async def run(self) -> Fetched:
        await in_thread(self.part.restart if self.sha256 is None else self.part.resume)
        if self.part.size and self.part.sha256() == self.sha256:
            return Fetched(self.part.size, self.sha256, self.etag)
        try:
            async with asyncio.timeout(self.limits.budget_seconds):
                await self._until_complete()
        except TimeoutError as problem:
            raise self._gave_up(
                f"the limit of {self.limits.budget_seconds:g} s is over", "BUNDLE_TIMEOUT"
            ) from problem
        return Fetched(self.part.size, self.part.sha256(), self.etag)

    async def _until_complete(self) -> None:
        failures, before = 0, self.part.size
        while True:
            try:
                await self._attempt()
                if await self._is_right():
                    return
            except _TryAgain as problem:
                self.tried.append(str(problem))
                # A connection that breaks again and again, yet brings something each time, will get there.
                failures = 1 if self.part.size >= before + MIB else failures + 1
                before = self.part.size
                if failures > len(self.limits.retry_pauses):
                    raise self._gave_up(f"{failures} attempts failed", "BUNDLE_UNREACHABLE") from problem
                pause = max(self.limits.retry_pauses[failures - 1], min(problem.after, _LONGEST_PAUSE))
                log.info("bundle.retry", url=shown_url(self.url), reason=str(problem), pause_seconds=pause)
                await self.sleep(pause)

    async def _is_right(self) -> bool:
        """Checks the complete file. What was resumed and is wrong is fetched once more from the start."""
        try:
            check_size(self.size_bytes, self.part.size, shown_url(self.url))
            check_digest(self.sha256, self.part.sha256(), shown_url(self.url))
        except BundleError:
            if not self.resumed:
                raise
            self.resumed = False
            await in_thread(self.part.restart)
            return False
        return True

    async def _attempt(self) -> None:
        headers = {"Accept-Encoding": "identity"}
        is_strong = self.etag.startswith('"')
        if self.part.size and self.sha256 is None and not is_strong:
            # Nothing would show that the rest belongs to another version.
            await in_thread(self.part.restart)
        if self.part.size:
            self.resumed = True
            headers["Range"] = f"bytes={self.part.size}-"
            if is_strong:
                headers["If-Range"] = self.etag
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self.limits.connect_seconds, sock_read=self.limits.stall_seconds
        )
        try:
            async with self.session.get(
                self.url, headers=headers, timeout=timeout, auto_decompress=False, read_bufsize=_READ_BUFFER
            ) as response:
                await self._take(response)
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as problem:
            why = getattr(problem, "certificate_error", problem)
            message = f"cannot fetch {shown_url(self.url)}: its certificate is not trusted ({why})"
            raise BundleError("BUNDLE_CERTIFICATE", message) from problem
        except aiohttp.InvalidURL as problem:
            raise BundleError(
                "BUNDLE_URL", f"cannot fetch {shown_url(self.url)}: not a usable address"
            ) from problem
        except (aiohttp.ClientError, ConnectionError, ssl.SSLError) as problem:
            raise _TryAgain(_why(problem)) from problem
        except TimeoutError as problem:
            if isinstance(problem, aiohttp.ServerTimeoutError):
                raise _TryAgain(f"no answer within {self.limits.stall_seconds:g} s") from problem
            raise

    async def _take(self, response: aiohttp.ClientResponse) -> None:
        if self.url.startswith("https:") and any(
            hop.url.scheme != "https" for hop in (*response.history, response)
        ):
            message = f"cannot fetch {shown_url(self.url)}: it redirects from https to http"
            raise BundleError("BUNDLE_REDIRECT", message)
        if response.status == 416:
            # What we have does not fit to what is there: begin again.
            await in_thread(self.part.restart)
            raise _TryAgain("the server has no such range")
        if response.status not in (200, 206):
            await self._refused(response)
        await self._align(response)
        self.etag = response.headers.get("ETag", "")
        await self._receive(response)

    async def _align(self, response: aiohttp.ClientResponse) -> None:
        """Makes the file continue where the body begins, and learns the total."""
        begin, total = 0, response.content_length
        if response.status == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None:
                raise _TryAgain("the server sent a part without saying which")
            begin = int(match[1])
            total = int(match[3]) if match[3] != "*" else None
        if begin != self.part.size:
            await in_thread(self.part.restart)
            if begin:
                raise _TryAgain("the server sent another part than was asked for")
        self.total = total
        if total is None:
            total = self.size_bytes or self.part.size
        check_size(self.size_bytes, total, shown_url(self.url))
        self._check_limit(total)
        folder = self.part.path.parent
        purpose = f"fetch {shown_url(self.url)}"
        await in_thread(lambda: require_space(folder, total - self.part.size, self.limits, purpose))

    async def _receive(self, response: aiohttp.ClientResponse) -> None:
        received = self.part.size
        writing: asyncio.Future[None] | None = None
        waiting: list[bytes] = []
        waiting_bytes = 0
        self.on_progress(received, self.total)
        try:
            async for chunk in response.content.iter_any():
                waiting.append(chunk)
                waiting_bytes += len(chunk)
                received += len(chunk)
                self._check_limit(received)
                self.on_progress(received, self.total)
                if waiting_bytes >= _BATCH:
                    # The next piece comes in while this one is hashed and written.
                    if writing is not None:
                        await writing
                    writing = self._write(waiting)
                    waiting, waiting_bytes = [], 0
        finally:
            # What came is kept, whatever ended it: the next attempt goes on from there.
            if writing is not None:
                await writing
            if waiting:
                await self._write(waiting)

    def _write(self, chunks: list[bytes]) -> asyncio.Future[None]:
        return asyncio.ensure_future(in_thread(lambda: self.part.append(chunks)))

    def _check_limit(self, size: int) -> None:
        if size > self.limits.max_bundle_bytes:
            message = (
                f"{shown_url(self.url)} has {size} bytes or more, with {self.limits.max_bundle_bytes} allowed"
            )
            raise BundleError("BUNDLE_TOO_LARGE", message)

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        body = b"" if response.content_length == 0 else await response.content.read(_ERROR_BODY)
        code = _ERROR_CODE.search(body)
        said = f"HTTP {status}{f' {code[1].decode()}' if code else ''}"
        if status in _RETRYABLE_STATUS:
            raise _TryAgain(said, after=_retry_after(response.headers.get("Retry-After", "")))
        place = shown_url(self.url)
        if status in _DENIED:
            raise BundleError("BUNDLE_FORBIDDEN", f"cannot fetch {place}: access denied ({said})")
        if status in _MISSING:
            raise BundleError("BUNDLE_NOT_FOUND", f"cannot fetch {place}: there is no such bundle ({said})")
        raise BundleError("BUNDLE_HTTP", f"cannot fetch {place}: the server answered {said}")

    def _gave_up(self, why: str, code: str) -> BundleError:
        runs = [(what, len(list(run))) for what, run in groupby(self.tried)]
        said = [what if times == 1 else f"{what} ({times} times)" for what, times in runs[-8:]]
        seen = "; ".join(said) or "no answer"
        message = f"cannot fetch {shown_url(self.url)}: {why} ({seen})"
        return BundleError(code, message, is_retryable=True)


def _retry_after(value: str) -> float:
    return float(value) if value.isascii() and value.isdigit() else 0.0


def _why(problem: BaseException) -> str:
    # aiohttp's own text may hold the whole address.
    if isinstance(problem, aiohttp.ClientConnectorError):
        return f"cannot connect to {problem.host}:{problem.port}: {problem.os_error.strerror or problem.os_error}"
    if isinstance(problem, aiohttp.ClientPayloadError):
        return "the transfer ended early"
    if isinstance(problem, aiohttp.ServerDisconnectedError):
        return "the server closed the connection"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return type(problem).__name__
