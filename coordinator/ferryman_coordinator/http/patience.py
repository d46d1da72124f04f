"""How long the HTTP door waits for a request, and for how many; uvicorn would wait for ever, for all of them."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 30
"""From the first moment of a connection, and from the end of each answer, until the next request is here as a whole."""

MOST_CONNECTIONS = 4096
"""One more is closed at once. Agents try again; what is left of the process's files is for their streams."""

_WAITING = (h11.IDLE, h11.SEND_BODY)


class ImpatientProtocol(H11Protocol):
    """Ends connections whose request does not come, or comes drop by drop; what is being answered has all time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A peer is there."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._drop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        super().data_received(data)
        if self.conn.their_state not in _WAITING:
            self._drop_deadline()

    def on_response_complete(self) -> None:
        """It is answered; the next one may have come meanwhile."""
        super().on_response_complete()
        if self.conn.their_state in _WAITING:
            self._expect_request()

    def _expect_request(self) -> None:
        self._drop_deadline()
        self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
