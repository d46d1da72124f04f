"""Opening ports, and saying in words why one cannot be opened."""

from __future__ import annotations

import errno
import socket

from ferryman_coordinator.config import Address
from ferryman_coordinator.errors import SetupError


def open_socket(address: Address, purpose: str, setting: str) -> socket.socket:
    """Returns a listening socket. `purpose` is for people, `setting` names what to change. Raises SetupError."""
    try:
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise cannot_listen(address, purpose, setting, error) from error
    try:
        # A port that the last run left in TIME_WAIT is free; one that somebody listens on is not.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(where)
        opened.listen(2048)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise cannot_listen(address, purpose, setting, error) from error
    return opened


def why_not(address: Address) -> OSError:
    """Finds out why a library could not listen there, by trying it. An error without a number when it works now."""
    try:
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        return error
    return OSError("it was taken a moment ago")


def cannot_listen(address: Address, purpose: str, setting: str, error: OSError) -> SetupError:
    """An error that names the address and the way out."""
    if error.errno == errno.EADDRINUSE:
        why = "another process listens there, perhaps another coordinator; end it or choose another port"
    elif error.errno == errno.EACCES:
        why = "this user may not use that port; choose one above 1023"
    elif error.errno == errno.EADDRNOTAVAIL:
        why = "this machine has no such address"
    elif isinstance(error, socket.gaierror):
        why = "the host name cannot be resolved"
    else:
        why = error.strerror or str(error)
    return SetupError(f"cannot listen on {address} for {purpose}: {why} ({setting})")
