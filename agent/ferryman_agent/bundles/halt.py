"""Ends blocking work from outside: a flag that also wakes whoever waits for a socket."""

from __future__ import annotations

import contextlib
import socket
import threading


class Halted(Exception):
    """The caller does not want the result any more."""


class Halt(threading.Event):
    """`set` shuts the sockets that were put in its care, so that a thread that waits for one goes on at once."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._sockets: set[socket.socket] = set()

    def set(self) -> None:
        """Ends everything. Never blocks, never raises."""
        super().set()
        with self._guard:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    # Below TLS, where there is any: nothing may be negotiated now.
                    socket.socket.shutdown(each, socket.SHUT_RDWR)

    def watch(self, one: socket.socket) -> None:
        """Takes a socket into care until `release`. Raises Halted when it is too late."""
        with self._guard:
            self._sockets.add(one)
        self.check()

    def release(self, one: socket.socket) -> None:
        """Forgets a socket."""
        with self._guard:
            self._sockets.discard(one)

    def check(self) -> None:
        """Raises Halted once `set` was called."""
        if self.is_set():
            raise Halted
