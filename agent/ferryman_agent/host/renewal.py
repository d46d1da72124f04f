"""A fresh certificate when two thirds of the old one's lifetime are over, for as long as the agent runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import structlog

from ferryman.channel import open_channel
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import agents_pb2_grpc
from ferryman_agent.clock import Clock, is_set_within
from ferryman_agent.core.messages import Instant
from ferryman_agent.errors import IdentityError
from ferryman_agent.host import certificates, identity
from ferryman_agent.host.identity import AGENT_METADATA, Identity

CALL_SECONDS = 80.0
LONGEST_NAP_SECONDS = 3600.0
"""The wall clock may be set, and a machine may sleep, so the certificate's end is looked at now and then."""
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 3600.0
SPREAD = 0.05
"""Of the lifetime: a fleet that was enrolled at once does not renew at once."""

log = structlog.stdlib.get_logger(__name__)


class Renewal:
    """`renewed` is called when the file holds a fresh identity; `random` gives numbers from 0 to 1.

    `proxy_for` as in `runtime.link`; `call_seconds` is how long one call waits for its answer.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        random: Callable[[], float],
        renewed: Callable[[], None],
        *,
        proxy_for: Callable[[str], str | None] = lambda host: None,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._proxy_for = proxy_for
        self._call_seconds = call_seconds
        self._path = path
        self._clock = clock
        self._spread = SPREAD * random()
        self._renewed = renewed
        self._hastened = asyncio.Event()

    def hasten(self) -> None:
        """Another CA is to be trusted: renew now, whatever the certificate's age."""
        self._hastened.set()

    async def run(self) -> None:
        """Renews whenever it is time, until cancelled. A failure is logged and tried again."""
        failures = 0
        while True:
            nap = min(LONGEST_NAP_SECONDS, self._seconds_left())
            is_hastened = await is_set_within(self._clock, nap, self._hastened)
            if self._seconds_left() > 0 and not is_hastened:
                continue
            try:
                await self.renew_once()
                failures = 0
                self._hastened.clear()
            except Exception as error:
                # Whatever it was: the old certificate still serves, and the agent has better things to do than end.
                log.error("certificate.not_renewed", error=str(error) or type(error).__name__)
                await self._clock.sleep(min(LONGEST_RETRY_SECONDS, RETRY_SECONDS * 2**failures))
                failures = min(failures + 1, 16)

    async def renew_once(self) -> None:
        """Replaces key and certificate. Raises IdentityError and leaves both as they were."""
        current = identity.load(self._path)
        fresh = await _renew(current, self._clock.now(), self._proxy_for(current.host), self._call_seconds)
        identity.save(fresh, self._path)
        log.info("certificate.renewed", instance_id=fresh.instance_id, expires_at=fresh.expires_at)
        self._renewed()

    def _seconds_left(self) -> float:
        try:
            current = identity.load(self._path)
        except IdentityError as error:
            log.error("identity.unreadable", error=str(error))
            return RETRY_SECONDS
        spread = (current.expires_at - current.issued_at) * self._spread
        return max(0.0, (current.renew_at + spread - self._clock.now()) / 1000)


async def _renew(current: Identity, now: Instant, proxy: str | None, seconds: float) -> Identity:
    made = await certificates.make_apart(current.instance_id)
    request = pb.RenewCertificateRequest(certificate_signing_request=made.request.encode())
    async with open_channel(
        current.address,
        ca_certificates=current.ca_certificates.encode(),
        certificate_chain=current.certificate_chain.encode(),
        private_key=current.private_key.encode(),
        proxy=proxy,
    ) as channel:
        stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(channel)
        try:
            answer = await stub.RenewCertificate(request, timeout=seconds, metadata=AGENT_METADATA)
        except grpc.aio.AioRpcError as error:
            raise IdentityError(
                f"the coordinator at {current.address} gives no fresh certificate: "
                f"{error.details()} ({error.code().name})"
            ) from error
    return replace(
        current,
        private_key=made.private_key,
        certificate_chain=answer.certificate_chain.decode("ascii"),
        ca_certificates=answer.ca_certificates.decode("ascii") or current.ca_certificates,
        issued_at=now,
        expires_at=Instant(answer.certificate_expires_at),
    )
