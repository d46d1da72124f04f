"""The standing stream: connects, and connects again for as long as the agent runs.

A coordinator that is away interrupts nothing (AG-107): commands go on, reports wait in the outbox. One that is silent
is noticed by gRPC's pings, in less than a minute (`ferryman.channel`).
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import grpc
import grpc.aio
import structlog

from ferryman.channel import PROTOCOL_VERSION, open_channel
from ferryman.faults import decode_fault
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import agents_pb2_grpc
from ferryman_agent.clock import Clock, is_set_within
from ferryman_agent.core.clocks import Clocks
from ferryman_agent.core.drift import InstalledGroup
from ferryman_agent.core.messages import CommandId, DeploymentId, Instant
from ferryman_agent.errors import IdentityError, JournalError
from ferryman_agent.host.facts import Facts
from ferryman_agent.host.identity import AGENT_METADATA, Identity
from ferryman_agent.runtime import mapping
from ferryman_agent.runtime.backoff import THROTTLED_SECONDS, Backoff, Ending
from ferryman_agent.runtime.bundle_calls import BundleCalls
from ferryman_agent.runtime.heartbeat import Heartbeat
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.stream import Orders, Stream, StreamOver

FLUSH_SECONDS = 5.0
GOODBYE_SECONDS = 2.0
ANSWERS_LIMIT = 10_000
"""Answers that wait for a stream. The oldest go: whoever asked asks again on a new stream."""

_KINDS = {
    grpc.StatusCode.UNAUTHENTICATED: Ending.UNIDENTIFIED,
    grpc.StatusCode.PERMISSION_DENIED: Ending.UNIDENTIFIED,
    grpc.StatusCode.FAILED_PRECONDITION: Ending.REFUSED,
    grpc.StatusCode.UNIMPLEMENTED: Ending.REFUSED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Ending.THROTTLED,
    grpc.StatusCode.INTERNAL: Ending.FAILING,
    grpc.StatusCode.UNKNOWN: Ending.FAILING,
}

log = structlog.stdlib.get_logger(__name__)


class LinkState(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"


@dataclass(slots=True)
class LinkStatus:
    """For `status`. `problem` is why the last stream ended or never stood, until one stands."""

    state: LinkState = LinkState.CONNECTING
    since: Instant = Instant(0)
    address: str = ""
    problem: str = ""
    problem_kind: str = ""
    last_connected_at: Instant | None = None
    last_contact_at: Instant | None = None
    """When the coordinator was last heard."""
    is_proxied: bool = False
    """The configuration has a proxy for it; what the environment says is gRPC's own business."""
    clock_skew_ms: int | None = None
    """By how much this machine's clock is ahead of the coordinator's, as of the last connection."""


class Link:
    """`load_identity` and `proxy_for` are asked before each try, so that what is renewed or reloaded counts at once.

    `proxy_for` says by host which proxy to take, as `ferryman.channel.open_channel` wants it. `bundles` is lent the
    channel. `distrusts` is called when the coordinator wants other CAs to be trusted than the identity does.
    """

    def __init__(
        self,
        *,
        load_identity: Callable[[], Identity],
        gather_facts: Callable[[], Facts],
        open_commands: Callable[[], list[CommandId]],
        orders: Orders,
        journal: Journal,
        lines: LiveLines,
        heartbeat: Heartbeat,
        clock: Clock,
        random: Callable[[], float],
        changed: Callable[[], None],
        bundles: BundleCalls | None = None,
        began: Callable[[], None] = lambda: None,
        distrusts: Callable[[], None] = lambda: None,
        proxy_for: Callable[[str], str | None] = lambda host: None,
        throttled_seconds: float = THROTTLED_SECONDS,
    ) -> None:
        self.status = LinkStatus(since=clock.now())
        self._proxy_for = proxy_for
        self._told_protocol = PROTOCOL_VERSION
        self._told_clock = Clocks.AGREE
        self._load_identity = load_identity
        self._gather_facts = gather_facts
        self._open_commands = open_commands
        self._orders = orders
        self._journal = journal
        self._lines = lines
        self._heartbeat = heartbeat
        self._clock = clock
        self._random = random
        self._changed = changed
        self._began = began
        self._distrusts = distrusts
        self._bundles = bundles or BundleCalls()
        self._backoff = Backoff(random, throttled_seconds)
        self._answers: deque[pb.ConnectRequest] = deque(maxlen=ANSWERS_LIMIT)
        self._wake = asyncio.Event()
        self._interrupt = asyncio.Event()
        self._closing = asyncio.Event()
        self._moved = asyncio.Event()
        self._call: grpc.aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse] | None = None

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def prefetch_done(self, deployment_id: DeploymentId, error: str) -> None:
        """Tells the end of a prefetch."""
        self._answers.append(mapping.prefetch_done(deployment_id, error))
        self._wake.set()

    def installed_state(self, check_id: str, states: Sequence[InstalledGroup]) -> None:
        """Tells what checks of installed files found; without a stream only to whoever asked.

        `began` has the rest told when there is one.
        """
        if not check_id and self.status.state is not LinkState.CONNECTED:
            return
        self._answers.append(mapping.installed_state(check_id, states))
        self._wake.set()

    def reconnect(self) -> None:
        """Ends the stream, or the wait for one, and begins anew at once: the certificate is a fresh one."""
        self._interrupt.set()

    async def run(self) -> None:
        """Keeps a stream until `close`. Raises JournalError."""
        while not self._closing.is_set():
            started = self._clock.monotonic()
            self._interrupt.clear()
            ending, problem, spread = await self._one_stream()
            lived = self._clock.monotonic() - started if self.status.state is LinkState.CONNECTED else 0.0
            if self._closing.is_set():
                break
            self._tell(ending, problem)
            seconds = self._backoff.after(ending, lived) + spread * self._random()
            self._become(LinkState.WAITING)
            await is_set_within(self._clock, seconds, self._interrupt)

    async def close(self, reason: str, *, is_host_going_down: bool) -> None:
        """Waits a little for what is still to be reported, says goodbye and ends `run`."""
        self._closing.set()
        if self.status.state is LinkState.CONNECTED:
            await self._until(lambda: not self._answers and not self._journal.outbox, FLUSH_SECONDS)
            self._answers.append(mapping.goodbye(reason, is_host_going_down=is_host_going_down))
            self._wake.set()
            # The coordinator ends the stream then; cutting it off at once could overtake the goodbye.
            await self._until(lambda: self._call is None, GOODBYE_SECONDS)
        self._interrupt.set()

    async def _until(self, is_true: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while not is_true() and (left := deadline - self._clock.monotonic()) > 0:
            self._moved.clear()
            await is_set_within(self._clock, left, self._moved)

    async def _one_stream(self) -> tuple[Ending, str, float]:
        """Returns how a stream ended, why, and over how many seconds the next try is to be spread."""
        try:
            identity = self._load_identity()
        except IdentityError as error:
            return Ending.UNIDENTIFIED, str(error), 0.0
        self.status.address, proxy = identity.address, self._proxy_for(identity.host)
        self.status.is_proxied = bool(proxy)
        self._become(LinkState.CONNECTING)
        channel = open_channel(
            identity.address,
            ca_certificates=identity.ca_certificates.encode(),
            certificate_chain=identity.certificate_chain.encode(),
            private_key=identity.private_key.encode(),
            proxy=proxy,
        )
        talking = asyncio.ensure_future(self._talk(channel, identity))
        interrupted = asyncio.ensure_future(self._interrupt.wait())
        try:
            await asyncio.wait({talking, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if not talking.done():
                return Ending.OURS, "a new stream is wanted", 0.0
            talking.result()
        except grpc.aio.AioRpcError as error:
            through = ", through the configured proxy" if proxy else ""
            return _kind(error), _why(error, identity, self._clock.now()) + through, 0.0
        except StreamOver as error:
            is_asked_for = error.reconnect_within > 0
            return (Ending.OURS if is_asked_for else Ending.LOST), str(error), error.reconnect_within
        except JournalError:
            raise
        except Exception as error:
            # A mistake of ours costs a stream; it must not end the hooks that run.
            log.exception("link.broke")
            return Ending.BROKEN, f"{type(error).__name__}: {error}", 0.0
        finally:
            for task in (talking, interrupted):
                task.cancel()
            await asyncio.gather(talking, interrupted, return_exceptions=True)
            self._call = None
            self._moved.set()
            await channel.close()
        return Ending.LOST, "the stream ended", 0.0

    async def _talk(self, channel: grpc.aio.Channel, identity: Identity) -> None:
        stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(channel)
        call = stub.Connect(metadata=AGENT_METADATA)
        stream = Stream(
            call,
            host=identity.host,
            journal=self._journal,
            lines=self._lines,
            heartbeat=self._heartbeat,
            orders=self._orders,
            answers=self._answers,
            wake=self._wake,
            moved=self._moved,
            acknowledged=self._changed,
            heard=self._note_contact,
            clock=self._clock,
        )
        try:
            facts = await asyncio.to_thread(self._gather_facts)
            acknowledged = self._journal.outbox.acknowledged
            hello = mapping.hello(
                facts,
                open_commands=self._open_commands(),
                acknowledged=acknowledged,
                now=self._clock.now(),
            )
            await stream.greet(hello)
            self._call = call
            self._compare(stream)
            self._become(LinkState.CONNECTED)
            self._began()
            if stream.ca_certificates not in ("", identity.ca_certificates):
                self._distrusts()
            with self._bundles.over(stub, stream.base_url):
                await stream.run()
        finally:
            call.cancel()

    def _note_contact(self) -> None:
        self.status.last_contact_at = self._clock.now()

    def _compare(self, stream: Stream) -> None:
        """Says once what differs between the two ends: their protocols (AG-035), their clocks (AG-091)."""
        if stream.protocol_version not in (0, self._told_protocol):
            self._told_protocol = stream.protocol_version
            log.warning("protocol.differs", agent=PROTOCOL_VERSION, coordinator=stream.protocol_version)
        skew = self.status.clock_skew_ms = stream.clock_skew_ms
        found = Clocks.of(skew)
        if found is not self._told_clock:
            self._told_clock = found
            say = {Clocks.AGREE: log.info, Clocks.DIFFER: log.warning, Clocks.CONTRADICT: log.error}[found]
            say("clock.compared", verdict=found.value, ahead_seconds=round((skew or 0) / 1000))

    def _become(self, state: LinkState) -> None:
        if self.status.state is state:
            return
        self.status.state, self.status.since = state, self._clock.now()
        if state is LinkState.CONNECTED:
            self.status.last_connected_at = self._clock.now()
            self.status.problem = self.status.problem_kind = ""
            log.info("link.connected", address=self.status.address)
        self._changed()

    def _tell(self, ending: Ending, problem: str) -> None:
        """Once for each change at its level, then at debug, so that a long outage does not flood the log (AG-106)."""
        is_news = (ending.value, problem) != (self.status.problem_kind, self.status.problem)
        self.status.problem_kind, self.status.problem = ending.value, problem
        if ending is Ending.OURS:
            log.info("link.renewed", reason=problem)
        elif is_news:
            say = log.warning if ending in (Ending.LOST, Ending.THROTTLED) else log.error
            say("link.down", kind=ending.value, address=self.status.address, problem=problem)
        else:
            log.debug("link.down", kind=ending.value, address=self.status.address, problem=problem)


def _kind(error: grpc.aio.AioRpcError) -> Ending:
    if error.code() in _KINDS:
        return _KINDS[error.code()]
    if re.search(r"certificate|handshake|SSL_ERROR|TLS", error.details() or "", re.IGNORECASE):
        return Ending.UNTRUSTED
    return Ending.LOST


def _why(error: grpc.aio.AioRpcError, identity: Identity, now: Instant) -> str:
    fault = decode_fault(tuple(error.trailing_metadata() or ()))
    said = (
        f"{fault.message} ({fault.reason})"
        if fault
        else f"{error.details() or 'no reason'} ({error.code().name})"
    )
    if now >= identity.expires_at:
        return f"this agent's certificate has expired: enroll again with a new join token ({said})"
    if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        who = identity.instance_id
        return f"the coordinator does not accept this agent as {who}: {said}. If it was removed, enroll again"
    if "CERTIFICATE_VERIFY_FAILED" in said and re.search("not yet valid|has expired", said):
        return (
            "the coordinator's certificate is not valid at this machine's time: compare the clocks of the two; a "
            f"coordinator that runs renews its certificate by itself ({said})"
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return (
            "the server there is not the coordinator that this agent enrolled with: its certificate is of another CA, "
            f"or for another name. If the coordinator was set up anew, enroll again ({said})"
        )
    return said
