"""AgentService: enrolment, renewal, and the beginning of each stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

import grpc.aio
import structlog

from ferryman import channel
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import agents_pb2_grpc
from ferryman_coordinator.api.agent_stream import AgentEvents, AgentStream, InstalledKeeper, LogKeeper
from ferryman_coordinator.api.auth import Context, current_agent
from ferryman_coordinator.api.mapping.agents import OrderMapper, command_id_from
from ferryman_coordinator.api.mapping.values import facts_from, tags_from
from ferryman_coordinator.bundles.small import SmallBundles
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.inventory import Facts, IssuedCertificate
from ferryman_coordinator.core.model import InstanceId
from ferryman_coordinator.core.provider_identity import ProviderProof
from ferryman_coordinator.errors import Conflict, Invalid, Unauthenticated
from ferryman_coordinator.identity.authority import Authority, SignedCertificate
from ferryman_coordinator.identity.failures import FailureLimiter
from ferryman_coordinator.links.origins import Origin, Origins
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.links.versions import is_older
from ferryman_coordinator.operations.enrolment import Enrolment
from ferryman_coordinator.operations.newcomers import EnrolOrder

log = structlog.get_logger(__name__)

_HELLO_TIMEOUT_S = 20.0
_OPEN_COMMANDS = 10_000
_SHOWN = 200
_PROOF_BYTES = 16 * 1024
_SKEW_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsSettings:
    """What agents are told. An empty `http_host` stands for the host that they dialled."""

    certificate_lifetime_ms: int
    heartbeat_interval_ms: int
    agents_port: int
    http_scheme: str
    http_host: str
    http_port: int
    # Empty: every version is served.
    minimum_version: str = ""


class AgentServicer(agents_pb2_grpc.AgentServiceServicer):
    """`settings` is asked for with each call, since ports are known only once they are open."""

    def __init__(
        self,
        *,
        enrolment: Enrolment,
        authority: Authority,
        links: Links,
        events: AgentEvents,
        installed: InstalledKeeper,
        logs: LogKeeper,
        bundles: SmallBundles,
        failures: FailureLimiter,
        clock: Clock,
        settings: Callable[[], AgentsSettings],
    ) -> None:
        self._enrolment = enrolment
        self._authority = authority
        self._links = links
        self._events = events
        self._installed = installed
        self._logs = logs
        self._bundles = bundles
        self._failures = failures
        self._clock = clock
        self._settings = settings
        self._orders = OrderMapper()
        self._origins = Origins()

    def register(self, server: grpc.aio.Server) -> str:
        agents_pb2_grpc.add_AgentServiceServicer_to_server(self, server)
        return "ferryman.v1.AgentService"

    async def Enrol(self, request: pb.EnrolRequest, context: Context) -> pb.EnrolResponse:
        self._failures.check(context.peer(), self._clock.now())
        # Before a token is spent on an agent that could not connect then.
        self._demand_version(request.facts.agent_version)
        order = EnrolOrder(
            join_token=request.join_token,
            instance_name=request.instance_name,
            tags=tags_from(request.tags),
            zone=request.zone,
            facts=facts_from(request.facts),
            provider_instance_id=request.provider_instance_id,
            proof=_proof(request),
        )
        signing = _Signing(self, request.certificate_signing_request)
        try:
            instance = await self._enrolment.enrol(order, signing.certify)
        except Unauthenticated as error:
            self._failures.failed(context.peer(), self._clock.now())
            log.warning("agent.enrolment_refused", peer=context.peer(), reason=error.reason)
            raise
        self._end_former(instance.instance_id)
        log.info(
            "agent.enrolled", instance=instance.instance_id, name=instance.name, kind=instance.kind.value
        )
        return pb.EnrolResponse(
            instance_id=instance.instance_id,
            instance_name=instance.name,
            certificate_chain=signing.signed.chain,
            ca_certificates=self._authority.certificate_pem,
            agents_port=self._settings().agents_port,
            certificate_expires_at=signing.signed.expires_at,
        )

    async def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: Context
    ) -> pb.RenewCertificateResponse:
        instance_id = current_agent().instance_id
        signing = _Signing(self, request.certificate_signing_request)
        await self._enrolment.renew(instance_id, signing.certify)
        log.info("agent.certificate_renewed", instance=instance_id, serial=signing.signed.serial)
        return pb.RenewCertificateResponse(
            certificate_chain=signing.signed.chain,
            ca_certificates=self._authority.certificate_pem,
            certificate_expires_at=signing.signed.expires_at,
        )

    async def Connect(  # type: ignore[override]  # grpc.aio also takes a coroutine that writes by itself
        self, request_iterator: AsyncIterator[pb.ConnectRequest], context: Context
    ) -> None:
        agent = current_agent()
        hello = await _hello(request_iterator)
        try:
            self._demand_version(hello.agent_version)
        except Conflict as refused:
            self._links.turned_away(agent.instance_id, refused, hello.facts.host_name[:_SHOWN])
            raise
        self._demand_one_machine(agent.instance_id, hello)
        await self._enrolment.describe(agent.instance_id, self._facts(agent.instance_id, hello))
        commands = [command_id_from(command) for command in hello.open_command_ids]
        link = self._links.attach(agent.instance_id, self._clock.now(), commands)
        try:
            log.debug("agent.connected", instance=agent.instance_id, version=hello.agent_version)
            await context.write(self._welcome(agent.instance_id, hello))
            stream = AgentStream(
                agent, link, self._links, self._events, self._installed, self._logs, self._orders, self._clock
            )
            await stream.run(request_iterator, context)
        finally:
            self._links.detach(link, self._clock.now())

    async def FetchBundle(
        self, request: pb.FetchBundleRequest, context: Context
    ) -> AsyncIterator[pb.FetchBundleResponse]:
        async with aclosing(self._bundles.pieces(request.address)) as pieces:
            async for piece in pieces:
                yield pb.FetchBundleResponse(content=piece)

    def sign(self, request: bytes, instance_id: InstanceId, longest_ms: int | None) -> SignedCertificate:
        """Raises Invalid."""
        lifetime_ms = self._settings().certificate_lifetime_ms
        if longest_ms is not None:
            lifetime_ms = min(lifetime_ms, longest_ms)
        return self._authority.sign_request(request, instance_id, self._clock.now(), lifetime_ms)

    def _end_former(self, instance_id: InstanceId) -> None:
        """What still speaks with an identity that another machine has taken over."""
        self._links.troubles.forget(instance_id)
        link = self._links.get(instance_id)
        if link is not None:
            link.close("its identity was given to another machine")

    def _demand_version(self, version: str) -> None:
        """Raises Conflict (AG-033)."""
        minimum = self._settings().minimum_version
        if is_older(version, minimum):
            raise Conflict(
                "AgentTooOld",
                f"this agent is version {version[:_SHOWN] or 'unknown'}, the coordinator serves {minimum} and newer:"
                " upgrade the agent",
            )

    def _demand_one_machine(self, instance_id: InstanceId, hello: pb.Hello) -> None:
        """Raises Conflict (AG-083): two that take turns with one identity would each undo what the other does."""
        origin = Origin(hello.facts.host_name[:_SHOWN], hello.facts.boot_id[:_SHOWN])
        is_connected = self._links.get(instance_id) is not None
        other = self._origins.meet(instance_id, origin, is_connected=is_connected)
        if other is not None:
            log.error(
                "agent.identity_shared", instance=instance_id, host=origin.host_name, other=other.host_name
            )
            refused = Conflict(
                "IdentityInUse",
                f"another machine, {other.host_name!r}, is connected with the identity of {instance_id}: enroll this"
                " one anew, with an identity of its own (`ferryman-agent enroll --force`)",
            )
            self._links.turned_away(instance_id, refused, origin.host_name)
            raise refused

    def _facts(self, instance_id: InstanceId, hello: pb.Hello) -> Facts:
        """What is kept of the host, with what only we can tell: how its clock goes (AG-091)."""
        skew_ms = hello.now - self._clock.now() if hello.now else 0
        if abs(skew_ms) > _SKEW_MS:
            log.warning("agent.clock_differs", instance=instance_id, ahead_seconds=round(skew_ms / 1000))
        return replace(facts_from(hello.facts), clock_skew_ms=skew_ms)

    def _welcome(self, instance_id: InstanceId, hello: pb.Hello) -> pb.ConnectResponse:
        settings = self._settings()
        welcome = pb.Welcome(
            instance_id=instance_id,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            http_scheme=settings.http_scheme,
            http_host=settings.http_host,
            http_port=settings.http_port,
            # Nothing newer is known here: reports are recognised by their command, not by their number.
            acknowledged_report=hello.last_acknowledged_report,
            now=self._clock.now(),
            protocol_version=channel.PROTOCOL_VERSION,
            ca_certificates=self._authority.certificate_pem,
        )
        return pb.ConnectResponse(welcome=welcome)


class _Signing:
    """Signs once the operation has found everything else right, and keeps what it signed for the answer."""

    def __init__(self, servicer: AgentServicer, request: bytes) -> None:
        self._servicer = servicer
        self._request = request
        self._signed: SignedCertificate | None = None

    @property
    def signed(self) -> SignedCertificate:
        if self._signed is None:
            raise RuntimeError("the operation succeeded without a certificate")
        return self._signed

    def certify(self, instance_id: InstanceId, longest_ms: int | None = None) -> IssuedCertificate:
        self._signed = self._servicer.sign(self._request, instance_id, longest_ms)
        return IssuedCertificate(
            serial=self._signed.serial, expires_at=self._signed.expires_at, issuer=self._signed.issuer
        )


def _proof(request: pb.EnrolRequest) -> ProviderProof | None:
    if not request.HasField("provider_identity"):
        return None
    identity = request.provider_identity
    if max(len(identity.document), len(identity.signature)) > _PROOF_BYTES:
        raise Invalid("InvalidIdentityDocument", f"no identity document has more than {_PROOF_BYTES} bytes")
    return ProviderProof(provider=identity.provider, document=identity.document, signature=identity.signature)


async def _hello(requests: AsyncIterator[pb.ConnectRequest]) -> pb.Hello:
    """The first message. Raises Invalid, and Conflict for a version that is not spoken here."""
    try:
        async with asyncio.timeout(_HELLO_TIMEOUT_S):
            first = await anext(requests, None)
    except TimeoutError as error:
        raise Invalid("HelloExpected", f"an agent says Hello within {_HELLO_TIMEOUT_S:g} s") from error
    if first is None or first.WhichOneof("message") != "hello":
        raise Invalid("HelloExpected", "the first message of an agent's stream is its Hello")
    hello = first.hello
    if hello.protocol_version != channel.PROTOCOL_VERSION:
        older = "agent" if hello.protocol_version < channel.PROTOCOL_VERSION else "coordinator"
        raise Conflict(
            "UnsupportedProtocolVersion",
            f"the agent speaks version {hello.protocol_version} of the protocol, the coordinator version"
            f" {channel.PROTOCOL_VERSION}: upgrade the {older}",
        )
    if len(hello.open_command_ids) > _OPEN_COMMANDS:
        raise Invalid(
            "InvalidHello", f"{len(hello.open_command_ids)} open commands are more than any agent has"
        )
    return hello
