"""Rows about orders: how soon one is answered, and how soon it is over once the agents are done."""

from __future__ import annotations

import statistics
import time

from grpc_health.v1 import health_pb2, health_pb2_grpc

from ferryman.channel import open_channel
from ferryman.v1 import types_pb2
from tests.bench.coordinator import deploy, until_succeeded
from tests.bench.harness import Figure, Options, row
from tests.bench.stage import Stage, stage_with


@row(
    "api.create",
    what="CreateDeployment to a group of 100 connected agents, nothing else under way; beside health Check",
    unit="ms",
)
async def create(options: Options) -> Figure:
    """From the call to its answer: everything is checked and stored, and the call is in the audit log."""
    agents, runs = (10, 3) if options.quick else (100, 25)
    async with stage_with(agents) as stage:
        profile = stage.coordinator.profile
        took, checks = [], []
        async with open_channel(profile.address(), ca_certificates=profile.ca()) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for _ in range(runs + 1):
                started = time.perf_counter()
                await health.Check(health_pb2.HealthCheckRequest())
                checks.append((time.perf_counter() - started) * 1000)
                started = time.perf_counter()
                deployment_id = await deploy(stage.client, stage.revision)
                took.append((time.perf_counter() - started) * 1000)
                await until_succeeded(stage.client, deployment_id)
    # The first of each warms up.
    took, checks = took[1:], checks[1:]
    return Figure(
        value=statistics.median(took),
        reference=statistics.median(checks),
        reference_name="ms, Check",
        details={"fastest_ms": min(took), "slowest_ms": max(took), "runs": runs, "agents": agents},
    )


@row(
    "deployment.last_report",
    what="the last of 100 agents says that it is done, to the stored Succeeded at a watcher; beside health Check",
    unit="ms",
)
async def last_report(options: Options) -> Figure:
    """The last agent waits until all others are done. `unpaced_ms`: nobody waits, so reports of all are under way."""
    agents, runs = (10, 2) if options.quick else (100, 10)
    async with stage_with(agents) as stage:
        profile = stage.coordinator.profile
        alone, unpaced, checks = [], [], []
        async with open_channel(profile.address(), ca_certificates=profile.ca()) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for _ in range(runs + 1):
                started = time.perf_counter()
                await health.Check(health_pb2.HealthCheckRequest())
                checks.append((time.perf_counter() - started) * 1000)
                unpaced.append(await _last_report(stage, is_paced=False) * 1000)
                alone.append(await _last_report(stage, is_paced=True) * 1000)
    # The first of each warms up.
    alone, unpaced, checks = alone[1:], unpaced[1:], checks[1:]
    return Figure(
        value=statistics.median(alone),
        reference=statistics.median(checks),
        reference_name="ms, Check",
        details={
            "fastest_ms": min(alone),
            "slowest_ms": max(alone),
            "unpaced_ms": statistics.median(unpaced),
            "unpaced_slowest_ms": max(unpaced),
            "runs": runs,
            "agents": agents,
        },
    )


async def _last_report(stage: Stage, *, is_paced: bool) -> float:
    """Seconds from the last report's way out to the end of one deployment, as its watcher sees it."""
    last, *others = stage.swarm.agents
    if is_paced:
        last.may_finish.clear()
    done: set[str] = set()
    async for change in stage.client.watch(await deploy(stage.client, stage.revision)):
        seen = change.snapshot.targets if change.HasField("snapshot") else [change.target]
        done |= {one.instance_id for one in seen if one.status == types_pb2.TARGET_STATUS_SUCCEEDED}
        if len(done) == len(others):
            last.may_finish.set()
        if change.deployment.status == types_pb2.DEPLOYMENT_STATUS_SUCCEEDED:
            break
    return time.monotonic() - max(agent.said_at for agent in stage.swarm.agents)
