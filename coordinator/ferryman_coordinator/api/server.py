"""The gRPC server: one of them, two ports. People's port: TLS. Agents' port: TLS with a client certificate.

A new server certificate is taken up with the next handshake, so renewing it needs no restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ferryman import channel
from ferryman_coordinator.api.auth import OF_AGENTS
from ferryman_coordinator.api.interceptors import Gate
from ferryman_coordinator.config import Address
from ferryman_coordinator.identity.certificates import KeyPair
from ferryman_coordinator.listening import cannot_listen, why_not

Register = Callable[[grpc.aio.Server], str]
"""Adds one servicer to the server and returns the full name of its service."""


class GrpcServer:
    """`listen`, then `start`; `stop` in the end."""

    def __init__(
        self,
        gate: Gate,
        services: Sequence[Register],
        certificate: Callable[[], KeyPair],
        ca_certificates: Callable[[], bytes],
    ) -> None:
        """`certificate` gives the newest one of the coordinator; one of `ca_certificates` (PEM) must have signed those
        that agents show. Both are asked before each handshake.
        """
        self._gate = gate
        self._certificate = certificate
        self._ca_certificates = ca_certificates
        self._server = grpc.aio.server(interceptors=[gate], options=channel.server_options())
        self._names = [register(self._server) for register in services]
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )

    def listen(self, people: Address, agents: Address) -> tuple[Address, Address]:
        """Opens both ports and returns their addresses with the ports in use. Raises SetupError."""
        return (
            self._listen(people, "people and tools", "--grpc-listen or listen.grpc", for_agents=False),
            self._listen(agents, "agents", "--agents-listen or listen.agents", for_agents=True),
        )

    async def start(self) -> None:
        """Begins to answer; health says NOT_SERVING until `is_ready`."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()

    async def is_ready(self) -> None:
        """From now on health says SERVING."""
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, drain_s: float, grace_s: float) -> None:
        """Takes no more calls. Agents have `drain_s` seconds to end their streams, uploads and the like `grace_s`."""
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._server.stop(grace_s))
        await self._gate.end_streams(but=OF_AGENTS)
        await asyncio.wait({stopping}, timeout=drain_s)
        await self._gate.end_streams()
        await stopping

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)

    def _listen(self, address: Address, purpose: str, setting: str, *, for_agents: bool) -> Address:
        try:
            port = self._server.add_secure_port(str(address), self._credentials(for_agents=for_agents))
        except RuntimeError as error:
            raise cannot_listen(address, purpose, setting, why_not(address)) from error
        return Address(address.host, port)

    def _credentials(self, *, for_agents: bool) -> grpc.ServerCredentials:
        used, trusted = self._certificate(), self._ca_certificates()

        def configuration() -> grpc.ServerCertificateConfiguration:
            return grpc.ssl_server_certificate_configuration(
                [(used.key_pem, used.chain)], root_certificates=trusted
            )

        def newer() -> grpc.ServerCertificateConfiguration | None:
            """Asked before each handshake, from a thread of gRPC; None keeps what is in use."""
            nonlocal used, trusted
            if self._certificate() is used and self._ca_certificates() == trusted:
                return None
            used, trusted = self._certificate(), self._ca_certificates()
            return configuration()

        return grpc.dynamic_ssl_server_credentials(
            configuration(),
            newer,  # type: ignore[arg-type]  # its stub forgets that the answer may be None
            require_client_authentication=for_agents,
        )
