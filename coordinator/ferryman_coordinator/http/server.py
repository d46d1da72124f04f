"""Uvicorn as one task of our own loop: our sockets, our signals, our log, our certificate."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from ferryman_coordinator.config import Address
from ferryman_coordinator.http.patience import REQUEST_S, ImpatientProtocol
from ferryman_coordinator.listening import open_socket

_LINGER_S = 10
"""How long downloads that run may go on when the coordinator ends; agents resume them elsewhere."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process: `app.py` decides what they mean."""
        yield


class HttpServer:
    """`listen`, then `run` as a task; `stop` makes it end."""

    def __init__(self, app: ASGIApp, certificate: Path, key: Path) -> None:
        """`certificate` and `key` are PEM files, used where the address is not loopback."""
        self._app = app
        self._certificate = certificate
        self._key = key
        self._context: ssl.SSLContext | None = None
        self._server: _Server | None = None
        self.scheme = "http"

    def listen(self, address: Address) -> Address:
        """Opens the port and returns the address with the port in use. Raises SetupError."""
        opened = open_socket(address, "HTTP", "--http-listen or listen.http")
        if not address.is_loopback:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            # Every suite of TLS 1.2 that fits our elliptic key has forward secrecy (PF-271).
            self.scheme = "https"
            self.take_certificate()
        context = self._context
        config = uvicorn.Config(
            self._app,
            http=ImpatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # Its warnings tell of what strangers send; each would cost a line.
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_keep_alive=REQUEST_S,
            timeout_graceful_shutdown=_LINGER_S,
            ssl_context_factory=None if context is None else lambda _config, _default: context,
        )
        self._server = _Server(config)
        self._socket = opened
        return Address(address.host, opened.getsockname()[1])

    def take_certificate(self) -> None:
        """Reads the certificate anew; connections from now on get it."""
        if self._context is not None:
            self._context.load_cert_chain(self._certificate, self._key)

    async def run(self) -> None:
        """Serves until `stop`."""
        if self._server is None:
            raise RuntimeError("listen comes before run")
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Ends `run` once the requests under way are answered, or after a while."""
        if self._server is not None:
            self._server.should_exit = True
