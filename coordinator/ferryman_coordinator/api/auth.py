"""Who calls, by port: people and tools bring a token, enrolled agents a certificate. Nothing else gets in.

Which calls need no identity stands in `OPEN`; everything that is not named here needs a token (D12).
"""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import grpc.aio
from cryptography import x509

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.core.users import Caller
from ferryman_coordinator.errors import Denied, Unauthenticated
from ferryman_coordinator.identity import certificates
from ferryman_coordinator.identity.failures import FailureLimiter
from ferryman_coordinator.operations.access import Admitted

OPEN = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        # Brings its own proof, the join token.
        "/ferryman.v1.AgentService/Enrol",
    }
)

OF_AGENTS = frozenset(
    f"/ferryman.v1.AgentService/{name}" for name in ("Connect", "FetchBundle", "RenewCertificate")
)

_BEARER = "bearer "
_BELIEVED = 10_000

Context = grpc.aio.ServicerContext[Any, Any]
"""What a servicer sees of its call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIdentity:
    """An enrolled instance, as its certificate and the store say."""

    instance_id: InstanceId
    expires_at: Instant


class TokenBook(Protocol):
    """Knows the tokens of people and tools."""

    async def authenticate(self, text: str, source: str = "") -> Admitted | None:
        """None for one that is unknown, expired or revoked."""
        ...


class CertificateBook(Protocol):
    """Knows the certificates that were issued."""

    async def identify(self, serial: str) -> InstanceId:
        """Raises Unauthenticated for one that is unknown or revoked, or whose instance is deregistered."""
        ...


_caller: ContextVar[Admitted | AgentIdentity | None] = ContextVar("caller", default=None)


def current_caller() -> Caller:
    """The person or tool that makes this call. Only for calls that need a token."""
    return current_admitted().caller


def current_admitted() -> Admitted:
    """The same, with what it may do."""
    admitted = _caller.get()
    if not isinstance(admitted, Admitted):
        raise RuntimeError("asked for a caller in a call that needs none")
    return admitted


def current_agent() -> AgentIdentity:
    """The agent that makes this call. Only for calls of `OF_AGENTS`."""
    caller = _caller.get()
    if not isinstance(caller, AgentIdentity):
        raise RuntimeError("asked for an agent in a call of somebody else")
    return caller


class Authenticator:
    """Decides for each call who makes it."""

    def __init__(
        self, tokens: TokenBook, issued: CertificateBook, failures: FailureLimiter, clock: Clock
    ) -> None:
        self._tokens = tokens
        self._issued = issued
        self._failures = failures
        # All refusals, those without any token too: they keep nobody out, they are only no news any more.
        self._refused = FailureLimiter(failures.limit)
        self._clock = clock
        # Digests of tokens.
        self._believed: set[bytes] = set()

    async def admit(self, method: str, context: Context) -> Admitted | AgentIdentity | None:
        """Makes the caller known to the call. Raises Unauthenticated, Denied, or LimitExceeded."""
        certificate = _peer_certificate(context)
        who: Admitted | AgentIdentity | None
        try:
            if certificate is None:
                who = await self._person(method, context)
            else:
                who = await self._agent(method, certificate)
            _caller.set(who)
            return who
        except (Unauthenticated, Denied):
            # Who fails again and again is not told why any more, and costs no line of the log.
            self._refused.check(context.peer(), self._clock.now())
            self._refused.failed(context.peer(), self._clock.now())
            raise

    async def _person(self, method: str, context: Context) -> Admitted | None:
        if method in OPEN:
            return None
        if method in OF_AGENTS:
            raise Unauthenticated(
                "AgentCertificateRequired",
                f"{method} is for enrolled agents: it is served on the agents' port, with a client certificate",
            )
        token = _bearer(context)
        if token is None:
            raise Unauthenticated(
                "TokenRequired", "this call needs a token: send it as `authorization: Bearer <token>`"
            )
        digest = hashlib.sha256(token.encode()).digest()
        if digest not in self._believed:
            # Whoever was believed before is not locked out by a neighbour behind the same address.
            self._failures.check(context.peer(), self._clock.now())
        admitted = await self._tokens.authenticate(token, source_of(context))
        if admitted is None:
            self._believed.discard(digest)
            self._failures.failed(context.peer(), self._clock.now())
            raise Unauthenticated(
                "TokenInvalid",
                "the token is not known here, has expired or was revoked: an administrator makes another one with"
                " `ferryman token create --user NAME`",
            )
        if len(self._believed) < _BELIEVED:
            self._believed.add(digest)
        return admitted

    async def _agent(self, method: str, certificate: x509.Certificate) -> AgentIdentity:
        if method not in OF_AGENTS:
            raise Denied(
                "WrongPort", f"{method} is not served on the agents' port: use the other one, with a token"
            )
        expires_at = certificates.expiry(certificate)
        if expires_at <= self._clock.now():
            # The handshake looks only once; a connection may outlive its certificate.
            raise Unauthenticated(
                "CertificateExpired",
                "this agent's certificate has expired: enrol it again with a new join token",
            )
        instance_id = await self._issued.identify(certificates.serial_text(certificate))
        return AgentIdentity(instance_id=instance_id, expires_at=expires_at)


def source_of(context: Context) -> str:
    """The caller's address, without its port: `ipv4:10.0.0.1:5000`, `ipv6:[::1]:5000` or `ipv6:%5B::1%5D:5000`."""
    host = context.peer().partition(":")[2].rpartition(":")[0]
    return host.replace("%5B", "").replace("%5D", "").strip("[]")


def _peer_certificate(context: Context) -> x509.Certificate | None:
    """The verified client certificate; only the agents' port asks for one."""
    for found in context.auth_context().get("x509_pem_cert", ()):
        return x509.load_pem_x509_certificate(found)
    return None


def _bearer(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str) and value[: len(_BEARER)].lower() == _BEARER:
            return value[len(_BEARER) :].strip() or None
    return None
