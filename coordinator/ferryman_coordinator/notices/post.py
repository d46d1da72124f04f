"""One HTTP request of a sink: no redirects, one time-out for everything, a bounded answer, addresses looked at first.

Imported when the first message is sent: most coordinators have no sinks.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ferryman_coordinator.notices.addresses import is_literal, refusal
from ferryman_coordinator.notices.message import Failure

_ANSWER_BYTES = 1024
_LONGEST_RETRY_AFTER_S = 3600
_OF_THIS_MESSAGE = frozenset({400, 406, 409, 411, 412, 413, 414, 415, 422, 428, 431})
"""Answers that say something about one message. All others are about the sink: another message would fare the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`ca_file` empty: the system's certificates; `proxy` empty: none. `timeout_ms` is for everything."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout_ms: int
    ca_file: str = ""
    proxy: str = ""
    allow_link_local: bool = False


class _AddressRefused(OSError):
    """The host has an address that nothing is sent to."""


class _Resolver(AbstractResolver):
    """Looks at each address before it is connected to, so that a name cannot change its mind in between."""

    def __init__(self, *, allow_link_local: bool) -> None:
        self._allow_link_local = allow_link_local

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        found: list[ResolveResult] = []
        for kind, _, proto, _, address in infos:
            ip = str(address[0])
            if why := refusal(ip, allow_link_local=self._allow_link_local):
                raise _AddressRefused(f"{host} is refused: {why}")
            found.append(
                ResolveResult(
                    hostname=host, host=ip, port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
                )
            )
        return found

    async def close(self) -> None:
        """Nothing is held."""


async def post(request: Request) -> Failure | None:
    """Send it once; None when the answer is 2xx."""
    host = urlsplit(request.url).hostname or ""
    if is_literal(host) and (why := refusal(host, allow_link_local=request.allow_link_local)):
        return Failure(reason=f"cannot send to {host}: {why}")
    try:
        context = _tls(request)
    except (OSError, ssl.SSLError) as problem:
        return Failure(reason=f"cannot read the certificates in {request.ca_file}: {problem}")
    seconds = request.timeout_ms / 1000
    connector = aiohttp.TCPConnector(
        resolver=_Resolver(allow_link_local=request.allow_link_local), force_close=True, ssl=context
    )
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=seconds),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.post(
                request.url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                proxy=request.proxy or None,
            ) as answer,
        ):
            return await _judged(answer, host)
    except TimeoutError:
        return Failure(reason=f"{host} did not answer within {seconds:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        return Failure(reason=f"cannot reach {host}: {_why(problem)}")


async def _judged(answer: aiohttp.ClientResponse, host: str) -> Failure | None:
    status = answer.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Failure(
            reason=f"{host} answers {status} and sends us elsewhere, where nothing is sent: put the final address into"
            " the sink's url"
        )
    try:
        said = (await answer.content.read(_ANSWER_BYTES)).decode(errors="replace")
    except (aiohttp.ClientError, OSError):
        said = ""
    words = " ".join("".join(one if one.isprintable() else " " for one in said).split())[:200]
    return Failure(
        reason=f"{host} answers {status}" + (f": {words}" if words else ""),
        is_sink_down=status not in _OF_THIS_MESSAGE,
        retry_after_ms=_retry_after(answer.headers.get("Retry-After", "")),
    )


def _retry_after(text: str) -> int:
    """Seconds only: a date would need the other end's clock."""
    return min(int(text), _LONGEST_RETRY_AFTER_S) * 1000 if text.isascii() and text.isdigit() else 0


_contexts: dict[tuple[str, float], ssl.SSLContext] = {}


def _tls(request: Request) -> Any:
    """True stands for aiohttp's own, with the system's certificates."""
    if not request.ca_file:
        return True
    key = request.ca_file, Path(request.ca_file).stat().st_mtime
    if key not in _contexts:
        _contexts.clear()
        _contexts[key] = ssl.create_default_context(cafile=request.ca_file)
    return _contexts[key]


def _why(problem: Exception) -> str:
    cause = problem.__cause__ or problem
    text = getattr(cause, "strerror", None) or str(cause) or str(problem)
    return " ".join(str(text).split())[:300] or type(problem).__name__
