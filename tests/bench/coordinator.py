"""Rows about a whole coordinator process: its agents' streams, and a deployment from order to end."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from ferryman.v1 import deployments_pb2, inventory_pb2, tokens_pb2, types_pb2
from ferryman_client.bundle import Bundle, build_bundle
from ferryman_client.client import FINAL_STATUSES, Client
from tests.bench.harness import Figure, Options, row
from tests.support.fleet import CoordinatorProcess, Fleet, write_bundle
from tests.support.swarm import Swarm

_WARM_UP = 3


@row(
    "coordinator.fan-out",
    what="order to arrival of a stored command at the last of 1,000 agents (mutual TLS)",
    unit="s",
    budget=2.0,
)
async def fan_out(options: Options) -> Figure:
    """Also gives how long the whole deployment took, and how many reports a second were stored and acknowledged."""
    count = 100 if options.quick else 1_000
    with tempfile.TemporaryDirectory() as directory:
        coordinator = CoordinatorProcess(Path(directory))
        coordinator.start()
        try:
            return await _fan_out(coordinator, Path(directory), count)
        finally:
            coordinator.stop()


async def _fan_out(coordinator: CoordinatorProcess, directory: Path, count: int) -> Figure:
    swarm = Swarm(count)
    async with Client(coordinator.profile) as client:
        request = tokens_pb2.CreateJoinTokenRequest(unlimited_uses=True, ttl_seconds=3600)
        token = (await client.call(client.tokens.CreateJoinToken, request)).token
        address = coordinator.ready["grpc"]
        await swarm.enrol(address, coordinator.profile.ca(), token)
        connecting = time.monotonic()
        await swarm.connect(address.rpartition(":")[0])
        connected = time.monotonic() - connecting
        revision = await prepare(client, trivial_bundle(directory), tag="swarm")
        ordered = time.monotonic()
        deployment_id = await deploy(client, revision)
        await until_succeeded(client, deployment_id)
        done = time.monotonic() - ordered
    arrivals = [max(agent.arrivals.values()) - ordered for agent in swarm.agents]
    reports = sum(agent.reports for agent in swarm.agents)
    await swarm.stop()
    return Figure(
        value=max(arrivals),
        details={
            "agents": count,
            "median_arrival_s": statistics.median(arrivals),
            "connect_all_s": connected,
            "deployment_s": done,
            "reports_per_s": reports / done,
        },
    )


@row(
    "deployment.latency",
    what="order to Succeeded of seven trivial events on one real agent",
    unit="ms",
    budget=150.0,
)
async def latency(options: Options) -> Figure:
    """The reference is starting the same five scripts bare, one after another."""
    # In a thread without a loop: the fleet brings its own.
    return await asyncio.to_thread(_latency_figure, 5 if options.quick else 25)


def _latency_figure(runs: int) -> Figure:
    with tempfile.TemporaryDirectory() as directory:
        fleet = Fleet(Path(directory), agents=1)
        try:
            fleet.start()
            times = asyncio.run(_latency(fleet, Path(directory), runs))
            bare = _bare_scripts(Path(directory), runs)
        finally:
            fleet.stop()
    return Figure(
        value=statistics.median(times),
        reference=bare,
        reference_name="ms, 5 scripts bare",
        details={"fastest_ms": min(times), "slowest_ms": max(times), "runs": runs},
    )


async def _latency(fleet: Fleet, directory: Path, runs: int) -> list[float]:
    times = []
    async with Client(fleet.coordinator.profile) as client:
        location = (await client.push("app", trivial_bundle(directory))).location
        for number in range(_WARM_UP + runs):
            ordered = time.monotonic()
            await until_succeeded(client, await deploy(client, location, group="all"))
            if number >= _WARM_UP:
                times.append((time.monotonic() - ordered) * 1000)
    return times


def _bare_scripts(directory: Path, runs: int) -> float:
    script = directory / "bare"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    times = []
    for _ in range(runs):
        started = time.monotonic()
        for _ in range(5):
            os.waitpid(os.posix_spawn(script, [str(script)], os.environ), 0)
        times.append((time.monotonic() - started) * 1000)
    return statistics.median(times)


def trivial_bundle(directory: Path) -> Bundle:
    """A bundle whose hooks do nothing, under that directory."""
    source = directory / "trivial"
    write_bundle(source, {}, {"version": "1"})
    for script in (source / "hooks").iterdir():
        script.write_text("#!/bin/sh\n")
    return build_bundle(source, directory / "trivial.tgz")


async def prepare(client: Client, bundle: Bundle, *, tag: str) -> types_pb2.RevisionLocation:
    """Makes application `app` with group `all`, of the instances whose tag `fleet` is `tag`; returns the revision."""
    await client.call(client.inventory.CreateApplication, inventory_pb2.CreateApplicationRequest(name="app"))
    group = inventory_pb2.CreateDeploymentGroupRequest(
        application_name="app",
        name="all",
        selection=inventory_pb2.Selection(tag_filters=[inventory_pb2.TagFilter(key="fleet", value=tag)]),
    )
    await client.call(client.inventory.CreateDeploymentGroup, group)
    return (await client.push("app", bundle)).location


async def deploy(client: Client, revision: types_pb2.RevisionLocation, *, group: str = "all") -> str:
    """Creates a deployment to all instances of a group at once; returns its id."""
    options = deployments_pb2.DeploymentOptions(
        application_name="app",
        deployment_group_name=group,
        revision=revision,
        deployment_config_name="CodeDeployDefault.AllAtOnce",
    )
    request = deployments_pb2.CreateDeploymentRequest(options=options)
    return (await client.call(client.deployments.CreateDeployment, request)).deployment_id


async def until_succeeded(client: Client, deployment_id: str) -> None:
    """Waits for a deployment's success. Raises RuntimeError for any other end."""
    async for change in client.watch(deployment_id):
        deployment = change.snapshot.deployment if change.HasField("snapshot") else change.deployment
        if deployment.status in FINAL_STATUSES:
            if deployment.status != types_pb2.DEPLOYMENT_STATUS_SUCCEEDED:
                raise RuntimeError(f"{deployment_id} did not succeed: {deployment.error.message}")
            return
