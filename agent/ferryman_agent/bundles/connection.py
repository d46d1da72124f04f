"""Opens the way to a server: directly or through a proxy, with TLS or without; interruptible at every step."""

from __future__ import annotations

import http.client
import socket
import ssl

from ferryman_agent.bundles.address import bracketed
from ferryman_agent.bundles.halt import Halt
from ferryman_agent.bundles.route import Proxy, Route


class CannotConnect(Exception):
    """The server, or the proxy, is not to be had just now; the text names it and says why."""


def connect(scheme: str, host: str, port: int, route: Route, halt: Halt, seconds: float) -> socket.socket:
    """Returns a connected socket, TLS done for https, in the care of `halt`; each step takes at most `seconds`.

    Raises CannotConnect, Halted, and ssl.SSLCertVerificationError for a certificate that nobody vouches for.
    """
    proxy = route.proxy_for(host)
    target = (proxy.host, proxy.port) if proxy else (host, port)
    one = _connected(*target, halt, seconds, "proxy " if proxy else "")
    if scheme == "http":
        return one
    try:
        if proxy is not None:
            _tunnel(one, host, port, proxy)
        return _secured(one, host, route, halt)
    except (OSError, http.client.HTTPException) as problem:
        halt.check()
        if isinstance(problem, ssl.SSLCertVerificationError):
            raise
        raise CannotConnect(f"cannot connect to {bracketed(host)}:{port}: {why(problem)}") from problem
    finally:
        # Where all went well it is an empty shell by now.
        halt.release(one)
        one.close()


def why(problem: BaseException) -> str:
    """Returns the reason of a failed connection in a few words, without addresses that might hold credentials."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, ssl.SSLError):
        return f"TLS failed ({problem.reason or 'unknown reason'})"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return type(problem).__name__


def _connected(host: str, port: int, halt: Halt, seconds: float, what: str) -> socket.socket:
    place = f"{what}{bracketed(host)}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        halt.check()
        raise CannotConnect(f"cannot connect to {place}: {why(problem)}") from problem
    problems: list[str] = []
    for family, kind, protocol, _, address in found:
        halt.check()
        one = socket.socket(family, kind, protocol)
        try:
            one.settimeout(seconds)
            halt.watch(one)
            one.connect(address)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as problem:
            halt.release(one)
            one.close()
            halt.check()
            problems.append(why(problem))
        except BaseException:
            halt.release(one)
            one.close()
            raise
        else:
            return one
    raise CannotConnect(f"cannot connect to {place}: {'; '.join(dict.fromkeys(problems))}")


def _tunnel(raw: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    place = f"{bracketed(host)}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    lines += [f"{name}: {value}" for name, value in proxy.authorization.items()]
    raw.sendall("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
    answer = http.client.HTTPResponse(raw, method="CONNECT")
    try:
        answer.begin()
        if answer.status != http.client.OK:
            raise CannotConnect(f"the proxy {proxy.place} does not let {place} through: HTTP {answer.status}")
    finally:
        answer.close()


def _secured(raw: socket.socket, host: str, route: Route, halt: Halt) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    if route.ca_certificates:
        context.load_verify_locations(cadata=route.ca_certificates)
    # The handshake comes later: it must be possible to interrupt it, and only the new socket can be shut then.
    one = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
    try:
        halt.watch(one)
        one.do_handshake()
    except BaseException:
        halt.release(one)
        one.close()
        raise
    return one
