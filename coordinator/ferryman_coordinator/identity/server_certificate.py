"""The coordinator's own certificate: which names it needs, and a new one in time, without a restart."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.identity import certificates
from ferryman_coordinator.identity.authority import Authority
from ferryman_coordinator.identity.certificates import KeyPair
from ferryman_coordinator.keyfiles import READABLE, SECRET, read_file, write_file

_ALWAYS = ("localhost", "127.0.0.1", "::1")
WILDCARDS = frozenset({str(IPv4Address(0)), str(IPv6Address(0))})
"""Hosts that stand for every address of this machine."""

# Addresses for documentation: connecting a datagram socket to them sends nothing, it only asks for the route.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def server_names(configured: Iterable[str], listen_hosts: Iterable[str]) -> tuple[str, ...]:
    """All names and addresses that the coordinator may be reached by, this machine's own first.

    Where it listens on every address, those that it uses towards other networks count as well.
    """
    hosts = list(listen_hosts)
    names = [_host_name(), *configured, *(host for host in hosts if host not in WILDCARDS), *_ALWAYS]
    if any(host in WILDCARDS for host in hosts):
        names += _own_addresses()
    return tuple(dict.fromkeys(_canonical(name) for name in names if name))


class ServerCertificate:
    """Holds the certificate in use; `renew_if_due` replaces it, and `current` gives whoever listens the newest.

    Reissued when two thirds of its life are over, when the names changed, and when the authority is another.
    """

    def __init__(self, authority: Authority, folder: Path, names: Iterable[str], lifetime_ms: int) -> None:
        self._authority = authority
        self.certificate_path = folder / "server.pem"
        self.key_path = folder / "server.key"
        self._names = tuple(names)
        self._lifetime_ms = lifetime_ms
        self._pair: KeyPair | None = None

    @property
    def current(self) -> KeyPair:
        """Raises RuntimeError before the first `renew_if_due`."""
        if self._pair is None:
            raise RuntimeError("the server certificate is used before it was made")
        return self._pair

    def renew_if_due(self, now: Instant) -> bool:
        """Makes sure that there is a good one. True when it is a new one. Raises SetupError when it cannot be kept."""
        pair = self._pair or self._stored()
        if pair is not None and not self._must_replace(pair.certificate, now):
            self._pair = pair
            return False
        pair = self._authority.make_server_certificate(self._names, now, self._lifetime_ms)
        write_file(self.key_path, pair.key_pem, SECRET)
        write_file(self.certificate_path, pair.chain, READABLE)
        self._pair = pair
        return True

    def _must_replace(self, certificate: x509.Certificate, now: Instant) -> bool:
        return (
            certificates.is_due(certificate, now)
            or certificates.names_of(certificate) != frozenset(self._names)
            or not self._authority.has_issued(certificate)
        )

    def _stored(self) -> KeyPair | None:
        """What an earlier run left; None when it is missing, damaged or does not fit together: it is only a leaf."""
        chain, key_pem = read_file(self.certificate_path), read_file(self.key_path)
        if chain is None or key_pem is None:
            return None
        try:
            certificate = x509.load_pem_x509_certificate(chain)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            return None
        return KeyPair(certificate=certificate, key=key, chain=chain)


def _canonical(name: str) -> str:
    """As it is read back from a certificate."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name.lower()


def _host_name() -> str:
    """This machine's name where it can stand in a certificate."""
    name = socket.gethostname()
    return name if name.isascii() and len(name) <= 253 else ""


def _own_addresses() -> list[str]:
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            # No route of this family: then nobody reaches us by it either.
            continue
    return found
