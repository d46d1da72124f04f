"""One HTTP question to a source of alarms: bounded in time and size, and never led to another place."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ferryman_coordinator.config.alarm_sources import AlarmSourceSettings
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import Unreachable

if TYPE_CHECKING:
    import aiohttp

LARGE = 8 << 20
SMALL = 256 << 10

_TOKEN = 8192
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was answered; `location` of a redirection, which is not followed."""

    status: int
    body: bytes
    location: str = ""


class Web:
    """Asks with the token and the certificates that a source's settings name, both read anew each time."""

    def __init__(self, settings: AlarmSourceSettings) -> None:
        self._settings = settings

    async def fetch(self, url: str, query: Mapping[str, str] | None = None, *, limit: int) -> Fetched:
        """GET; at most `limit` bytes are taken in. Raises Unreachable: it says what could not be asked, and why.

        A connection that ends without an answer is tried a second time, by the library.
        """
        import aiohttp

        try:
            async with asyncio.timeout(self._settings.timeout / 1000):
                session = self._session(await asyncio.to_thread(self._headers))
                async with session:
                    return await _get(session, url, query, limit)
        except TimeoutError:
            raise _failed(url, f"no answer within {self._settings.timeout}") from None
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise _failed(url, str(problem) or type(problem).__name__) from problem

    def _headers(self) -> dict[str, str]:
        file = self._settings.token_file
        if not file:
            return {}
        return {"Authorization": f"Bearer {read_token(file)}"}

    def _session(self, headers: Mapping[str, str]) -> aiohttp.ClientSession:
        import aiohttp

        file = self._settings.ca_file
        check: ssl.SSLContext | bool = ssl.create_default_context(cafile=file) if file else True
        return aiohttp.ClientSession(
            headers={"Accept": "application/json", **headers},
            connector=aiohttp.TCPConnector(ssl=check),
            trust_env=True,
        )


def read_token(file: str) -> str:
    """The token in a file. Raises OSError, and ValueError when there is none in it."""
    with Path(file).open("rb") as content:
        token = content.read(_TOKEN).decode("ascii").strip()
    if not token or not token.isprintable():
        raise ValueError(f"{file} holds no token")
    return token


def shown(text: str) -> str:
    """What somebody else says, made harmless and short."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[:_SHOWN]).split())
    return line if len(text) <= _SHOWN else f"{line}…"


def instant(text: str) -> Instant | None:
    """A time as JSON has it; None for what is none, and for the year 1, which stands for none."""
    try:
        at = int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return Instant(at) if at > 0 else None


async def _get(
    session: aiohttp.ClientSession, url: str, query: Mapping[str, str] | None, limit: int
) -> Fetched:
    async with session.get(url, params=query, allow_redirects=False) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(64 << 10):
            body += chunk
            if len(body) > limit:
                raise ValueError(f"the answer has more than {limit} bytes")
        location = answer.headers.get("Location", "") if 300 <= answer.status < 400 else ""
        return Fetched(answer.status, bytes(body), location)


def _failed(url: str, why: str) -> Unreachable:
    return Unreachable("AlarmSourceUnreachable", f"cannot ask {url}: {shown(why)}")


def refusal(url: str, answer: Fetched) -> str:
    """What an answer that is not 200 means, in words."""
    if answer.location:
        return f"{url} answers {answer.status} and leads to {shown(answer.location)}, which is not followed"
    said = shown(answer.body[:_SHOWN].decode(errors="replace"))
    return f"{url} answers {answer.status}{': ' + said if said else ''}"
