"""One try to get to the coordinator, as far as its TLS: what stands in the way, by name (AG-543). Blocks."""

from __future__ import annotations

import base64
import socket
import ssl

from ferryman_agent.config.values import ProxyAddress
from ferryman_agent.core.checkup import Hurdle, ReachFacts
from ferryman_agent.host.identity import Identity
from ferryman_agent.system import own

SECONDS = 10.0
"""For each step (V2-346)."""
_ANSWER_LIMIT = 16 * 1024


def try_coordinator(identity: Identity, proxy: ProxyAddress | None) -> ReachFacts:
    """Returns how far one gets. Never raises."""
    address, shown = identity.address, str(proxy) if proxy else ""

    def stopped(hurdle: Hurdle, detail: str) -> ReachFacts:
        return ReachFacts(address=address, hurdle=hurdle, detail=detail, proxy=shown)

    try:
        context = _context(identity)
    except (ssl.SSLError, OSError, ValueError):
        return stopped(Hurdle.IDENTITY, "key and certificate of this agent cannot be used together")
    try:
        plain = _connected(
            proxy.host if proxy else identity.host, proxy.port if proxy else identity.agents_port
        )
    except socket.gaierror as error:
        return stopped(Hurdle.PROXY if proxy else Hurdle.NAME, f"the name is not known ({error.strerror})")
    except OSError as error:
        return stopped(Hurdle.PROXY if proxy else Hurdle.CONNECTION, _why(error))
    with plain:
        if proxy is not None and (refusal := _tunnel(plain, identity, proxy)):
            return stopped(Hurdle.PROXY, refusal)
        try:
            with context.wrap_socket(plain, server_hostname=identity.host) as secured:
                version = secured.version() or ""
                # With TLS 1.3 a server says only now what it thinks of our certificate.
                if not secured.recv(1):
                    return stopped(
                        Hurdle.IDENTITY, "the coordinator ended the connection: it may not know this agent"
                    )
        except ssl.SSLCertVerificationError as error:
            return stopped(Hurdle.TRUST, f"its certificate is not trusted: {error.verify_message}")
        except ssl.SSLError as error:
            return stopped(Hurdle.IDENTITY, f"TLS failed: {(error.reason or 'for no known reason').lower()}")
        except OSError as error:
            return stopped(Hurdle.CONNECTION, f"TLS was not answered: {_why(error)}")
    return ReachFacts(address=address, tls_version=version, proxy=shown)


def try_proxy(proxy: ProxyAddress) -> ReachFacts:
    """Returns whether a proxy takes connections at all. Never raises."""
    try:
        _connected(proxy.host, proxy.port).close()
    except OSError as error:
        return ReachFacts(address="", hurdle=Hurdle.PROXY, detail=_why(error), proxy=str(proxy))
    return ReachFacts(address="", proxy=str(proxy))


def _context(identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=identity.ca_certificates)
    # The standard library reads keys from files only.
    with own.readable(f"{identity.certificate_chain}\n{identity.private_key}".encode("ascii")) as path:
        context.load_cert_chain(path)
    return context


def _connected(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=SECONDS)


def _tunnel(plain: socket.socket, identity: Identity, proxy: ProxyAddress) -> str:
    """Asks the proxy for the way to the coordinator; returns why it does not open it, empty when it does."""
    lines = [f"CONNECT {identity.address} HTTP/1.1", f"Host: {identity.address}"]
    if proxy.user:
        pair = base64.b64encode(f"{proxy.user}:{proxy.password.reveal()}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {pair}")
    answer = b""
    try:
        plain.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in answer and len(answer) < _ANSWER_LIMIT:
            piece = plain.recv(1)
            if not piece:
                break
            answer += piece
    except OSError as error:
        return _why(error)
    words = answer.split(b"\r\n", 1)[0].decode("ascii", errors="replace").split(" ", 2)
    if len(words) > 1 and words[1] == "200":
        return ""
    return f"the proxy answered {' '.join(words[1:]) or 'nothing'}"


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:.0f} s"
    return error.strerror or str(error)
