"""One GET by `http.client`: redirects followed by our own rules, credentials kept from other hosts (AG-231, AG-234)."""

from __future__ import annotations

import http.client
import socket
import ssl

from ferryman_agent.bundles.address import Place, place_of, redirected, shown_url
from ferryman_agent.bundles.connection import CannotConnect, connect, why
from ferryman_agent.bundles.halt import Halt
from ferryman_agent.bundles.route import Route
from ferryman_agent.bundles.trace import Trace
from ferryman_agent.bundles.wanted import Headers
from ferryman_agent.errors import BundleError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5


class Interrupted(Exception):
    """The exchange broke off in a way that may pass; the text says how."""


class Answer:
    """A response whose body has not been read. `close` it."""

    def __init__(self, response: http.client.HTTPResponse, url: str) -> None:
        self._response = response
        self.url = url
        self.status = response.status

    def header(self, name: str) -> str:
        """Returns a header, "" where there is none."""
        return self._response.headers.get(name) or ""

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come; None where nobody says."""
        return self._response.length

    def read(self, most: int) -> bytes:
        """Returns what is there, at least a byte; b"" at the end. Raises Interrupted when that comes too early."""
        try:
            found = self._response.read1(most)
        except (OSError, http.client.HTTPException) as problem:
            raise Interrupted(_broken(problem)) from problem
        if not found and self._response.length:
            raise Interrupted("the transfer ended early")
        return found

    def close(self) -> None:
        """Lets go of the response."""
        self._response.close()


class Exchange:
    """Asks for one bundle. Nothing that it raises shows a query, a credential or a header."""

    def __init__(self, route: Route, halt: Halt, *, connect_seconds: float, stall_seconds: float) -> None:
        self._route = route
        self._trace = Trace(route.trace)
        self._halt = halt
        self._connect_seconds = connect_seconds
        self._stall_seconds = stall_seconds
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def get(self, url: str, headers: Headers, secrets: Headers) -> Answer:
        """Follows redirects and returns the last answer; `secrets` go to the host of `url` and to no other.

        Raises Interrupted for what may pass, BundleError for what will not, Halted.
        """
        first = place_of(url)
        for _ in range(_MOST_REDIRECTS + 1):
            place = place_of(url)
            if (first.scheme, place.scheme) == ("https", "http"):
                message = f"cannot fetch {shown_url(url)}: it redirects from https to http"
                raise BundleError("BUNDLE_REDIRECT", message)
            is_home = (place.scheme, place.host, place.port) == (first.scheme, first.host, first.port)
            response = self._once(url, place, headers + secrets if is_home else headers)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return Answer(response, url)
            self.close()
            url = redirected(url, location)
        message = f"cannot fetch {shown_url(url)}: more than {_MOST_REDIRECTS} redirects in a row"
        raise BundleError("BUNDLE_REDIRECT", message)

    def close(self) -> None:
        """Closes the connection."""
        self._trace.close()
        if self._socket is not None:
            self._halt.release(self._socket)
            self._socket.close()
        if self._connection is not None:
            self._connection.close()
        self._socket = self._connection = None

    def _once(self, url: str, place: Place, headers: Headers) -> http.client.HTTPResponse:
        try:
            one = connect(
                place.scheme, place.host, place.port, self._route, self._halt, self._connect_seconds
            )
        except CannotConnect as problem:
            raise Interrupted(str(problem)) from problem
        except ssl.SSLCertVerificationError as problem:
            message = (
                f"cannot fetch {shown_url(url)}: its certificate is not trusted ({problem.verify_message})"
            )
            raise BundleError("BUNDLE_CERTIFICATE", message) from problem
        one.settimeout(self._stall_seconds)
        connection = http.client.HTTPConnection(place.host, place.port)
        connection.sock = one
        connection.auto_open = 0
        self._socket, self._connection = one, connection
        target, more = place.target, {}
        proxy = self._route.proxy_for(place.host)
        if place.scheme == "http" and proxy is not None:
            target, more = f"http://{place.authority}{place.target}", proxy.authorization
        every = {"Host": place.authority, **dict(headers), **more}
        self._trace.request(url, every)
        try:
            connection.request("GET", target, headers=every)
            response = connection.getresponse()
            self._trace.answer(response.status, response.reason, response.getheaders())
            return response
        except ValueError as problem:
            raise BundleError(
                "BUNDLE_URL", f"cannot fetch {shown_url(url)}: not a usable address"
            ) from problem
        except (OSError, http.client.HTTPException) as problem:
            raise Interrupted(_broken(problem)) from problem


def _broken(problem: BaseException) -> str:
    if isinstance(problem, http.client.RemoteDisconnected):
        return "the server closed the connection"
    if isinstance(
        problem, http.client.IncompleteRead | ConnectionResetError | BrokenPipeError | ssl.SSLEOFError
    ):
        return "the transfer ended early"
    if isinstance(problem, http.client.HTTPException):
        return f"the server does not speak HTTP ({type(problem).__name__})"
    return why(problem)
