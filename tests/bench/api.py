"""Rows about reads of people and tools: calls a second over TLS, through rights and the audit log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from ferryman.channel import open_channel
from ferryman.v1 import deployments_pb2, identity_pb2
from ferryman_client.client import Client
from tests.bench.coordinator import deploy, until_succeeded
from tests.bench.harness import Figure, Options, row
from tests.bench.stage import stage_with
from tests.support.coordinator import deployments_stub
from tests.support.process_figures import cpu_seconds

CALLERS = 16
_LIMITED_TO = ("application:app", "deploymentgroup:app/*")
"""What the caller may see: rights that have to be looked up, unlike the administrator's."""

Call = Callable[[], Awaitable[object]]


@row(
    "api.calls.get",
    what=f"GetDeployment of 1,000 targets by {CALLERS} callers with limited rights, TLS, audited; beside health Check",
    unit="calls/s",
    higher_is_better=True,
)
async def get_calls(options: Options) -> Figure:
    """The reference is asked by the same callers on the same connection; it needs neither rights nor the store."""
    return await _reads(
        options,
        lambda stub: stub.GetDeployment,
        lambda deployment_id: deployments_pb2.GetDeploymentRequest(deployment_id=deployment_id),
    )


@row(
    "api.calls.list",
    what=f"ListDeploymentTargets, 100 of 1,000, by {CALLERS} callers with limited rights, TLS, audited; beside Check",
    unit="calls/s",
    higher_is_better=True,
)
async def list_calls(options: Options) -> Figure:
    """The first page in the default size, each target with its events. The reference as in `api.calls.get`."""
    return await _reads(
        options,
        lambda stub: stub.ListDeploymentTargets,
        lambda deployment_id: deployments_pb2.ListDeploymentTargetsRequest(deployment_id=deployment_id),
    )


async def _reads(
    options: Options,
    method: Callable[[Any], Any],
    request: Callable[[str], Any],
) -> Figure:
    targets, seconds = (50, 0.5) if options.quick else (1_000, 5.0)
    async with stage_with(targets) as stage:
        deployment_id = await deploy(stage.client, stage.revision)
        await until_succeeded(stage.client, deployment_id)
        await stage.swarm.stop()
        bearer = await _limited_caller(stage.client)
        profile = stage.coordinator.profile
        async with open_channel(profile.address(), ca_certificates=profile.ca()) as channel:
            ask, wanted = method(deployments_stub(channel)), request(deployment_id)
            health = health_pb2_grpc.HealthStub(channel)

            async def read() -> None:
                await ask(wanted, metadata=bearer)

            async def check() -> None:
                await health.Check(health_pb2.HealthCheckRequest())

            for warm_up in (read, check):
                await _measured(stage.pid, warm_up, CALLERS, seconds / 5)
            reads = await _measured(stage.pid, read, CALLERS, seconds)
            alone = await _measured(stage.pid, read, 1, seconds / 2)
            checks = await _measured(stage.pid, check, CALLERS, seconds)
    return Figure(
        value=reads.calls_per_s,
        reference=checks.calls_per_s,
        reference_name="Check calls/s",
        details={
            "targets": targets,
            "median_ms": reads.percentile_ms(50),
            "p99_ms": reads.percentile_ms(99),
            "one_caller_median_ms": alone.percentile_ms(50),
            "one_caller_p99_ms": alone.percentile_ms(99),
            "coordinator_cpu_ms_per_call": reads.cpu_ms_per_call,
            "coordinator_cpu_ms_per_check": checks.cpu_ms_per_call,
            "check_p99_ms": checks.percentile_ms(99),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    took: list[float]  # seconds of each call, sorted
    seconds: float
    cpu_seconds: float  # of the coordinator

    @property
    def calls_per_s(self) -> float:
        return len(self.took) / self.seconds

    @property
    def cpu_ms_per_call(self) -> float:
        return self.cpu_seconds * 1000 / len(self.took)

    def percentile_ms(self, percent: int) -> float:
        return self.took[min(len(self.took) - 1, len(self.took) * percent // 100)] * 1000


async def _measured(pid: int, call: Call, callers: int, seconds: float) -> _Measured:
    """`callers` at once, each of which calls again and again for so many seconds."""
    took: list[float] = []
    cpu, started = cpu_seconds(pid), time.perf_counter()

    async def caller() -> None:
        while (asked := time.perf_counter()) < started + seconds:
            await call()
            took.append(time.perf_counter() - asked)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())
    return _Measured(
        took=sorted(took), seconds=time.perf_counter() - started, cpu_seconds=cpu_seconds(pid) - cpu
    )


async def _limited_caller(client: Client) -> tuple[tuple[str, str], ...]:
    """Metadata of calls by a user who may look at the application only."""
    await client.call(client.identity.CreateUser, identity_pb2.CreateUserRequest(name="reader"))
    grant = identity_pb2.GrantRoleRequest(user="reader", role="viewer", resources=_LIMITED_TO)
    await client.call(client.identity.GrantRole, grant)
    request = identity_pb2.CreateAccessTokenRequest(user="reader")
    token = (await client.call(client.identity.CreateAccessToken, request)).token
    return (("authorization", f"Bearer {token}"),)
