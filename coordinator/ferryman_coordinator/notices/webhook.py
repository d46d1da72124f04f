"""Sinks that are posted to: webhooks, which get signed JSON, and Slack's, which get a line of text."""

from __future__ import annotations

import json
from pathlib import Path

from ferryman_coordinator import __version__
from ferryman_coordinator.config.sinks import Sink, SinkKind, wrong_address
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.notices import signature
from ferryman_coordinator.notices.message import Failure, Message

_SECRET_BYTES = 4096
_TEXT = 3000


class _FileUnusable(Exception):
    """A file that the settings name; the message says which and why."""


class PostOutlet:
    """Reads its files at each message, so that a new secret or address needs no restart."""

    def __init__(self, name: str, sink: Sink) -> None:
        """`name` is that in the settings."""
        self._name = name
        self._sink = sink

    async def send(self, message: Message, now: Instant) -> Failure | None:
        """See `Outlet.send`."""
        from ferryman_coordinator.notices.post import Request, post

        sink = self._sink
        try:
            url = self._url()
            body = self._body(message)
            headers = self._headers(message, body, now)
        except _FileUnusable as problem:
            return Failure(reason=str(problem))
        return await post(
            Request(
                url=url,
                body=body,
                headers=headers,
                timeout_ms=int(sink.timeout),
                ca_file=sink.ca_file,
                proxy=sink.proxy,
                allow_link_local=sink.allow_link_local,
            )
        )

    async def close(self) -> None:
        """Nothing is held between two messages."""

    def _url(self) -> str:
        if not self._sink.url_file:
            return self._sink.url
        url = self._lines("url_file", self._sink.url_file)[0]
        if wrong := wrong_address(url, allow_http=self._sink.allow_http):
            raise _FileUnusable(f"sinks.{self._name}.url_file: the address in it {wrong}")
        return url

    def _body(self, message: Message) -> bytes:
        if self._sink.kind is SinkKind.SLACK:
            return json.dumps({"text": slack_text(message.text)}).encode()
        return message.body.encode()

    def _headers(self, message: Message, body: bytes, now: Instant) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Ferryman/{__version__}",
            # Of what was refused we read a little: nothing shall be packed.
            "Accept-Encoding": "identity",
        }
        if self._sink.kind is SinkKind.SLACK:
            return headers
        seconds = now // 1000
        headers |= {
            signature.EVENT_ID: message.event_id,
            signature.DELIVERY_ID: message.delivery_id,
            signature.EVENT_TYPE: message.event_type,
            signature.TIMESTAMP: str(seconds),
        }
        if self._sink.secret_file:
            secrets = [line.encode() for line in self._lines("secret_file", self._sink.secret_file)]
            headers[signature.SIGNATURE] = signature.signature(secrets, seconds, body)
        return headers

    def _lines(self, setting: str, file: str) -> list[str]:
        """Of a small file, without blanks around them; raises _FileUnusable when there are none."""
        try:
            with Path(file).open("rb") as opened:
                text = opened.read(_SECRET_BYTES + 1).decode()
        except (OSError, UnicodeDecodeError) as problem:
            why = getattr(problem, "strerror", None) or "it is no text"
            raise _FileUnusable(f"sinks.{self._name}.{setting}: cannot read {file}: {why}") from problem
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines or len(text) > _SECRET_BYTES:
            raise _FileUnusable(f"sinks.{self._name}.{setting}: {file} is empty, or larger than 4 KiB")
        return lines


def slack_text(text: str) -> str:
    """Without what Slack would take for a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")[:_TEXT]
