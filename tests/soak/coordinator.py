"""The other half of `make soak`: a real coordinator under 500 agents that are deployed to without a pause.

    python -m tests.soak.coordinator [--minutes 15] [--agents 500]        SOAK_MINUTES says the same

The agents are streams of their own with their own certificates (real gRPC, mutual TLS), all in this process, and have
hooks that do nothing. Deployments go to five groups of all of them at once, again and again; each start and end of a
deployment, and each instance of the first group that succeeds, is a message to a web server of this process. After
each round, when nothing runs any more, the coordinator is measured. Exit code 1 when something grew, a message is
missing, or a deployment is not final.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ferryman.v1 import deployments_pb2, inventory_pb2, tokens_pb2, types_pb2
from ferryman_client.bundle import build_bundle
from ferryman_client.client import FINAL_STATUSES, Client
from ferryman_coordinator.notices.signature import DELIVERY_ID, EVENT_TYPE
from tests.soak.growth import Figure, judge
from tests.support.fleet import CoordinatorProcess, write_bundle
from tests.support.process_figures import ProcessFigures, cpu_seconds, figures_of
from tests.support.swarm import Swarm
from tests.support.webhook import OK, Received, webhook_server

GROUPS = 5
TOPIC = "arn:aws:sns:eu-1:123456789012:soak"
OF_DEPLOYMENT = ("DeploymentStart", "DeploymentSuccess", "DeploymentFailure", "DeploymentStop")
SETTLE_SECONDS = 1.0
PATIENCE_SECONDS = 180.0
WARM_ROUNDS = 5
MAY_RISE_MIB = GROUPS * 8 / 1024
"""From one round to the next: 8 KiB for each deployment, which has 500 targets."""


def main(arguments: list[str]) -> int:
    """See the module text."""
    parser = argparse.ArgumentParser(prog="make soak", description="Many agents under one coordinator")
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES", "15")))
    parser.add_argument("--agents", type=int, default=500)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return asyncio.run(_run(Path(folder), options.agents, options.minutes * 60))


class _Sink:
    """Counts messages, each once."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.repeated = 0
        self.types: Counter[str] = Counter()
        self.came = asyncio.Event()

    def take(self, received: Received) -> bytes:
        headers = {name.lower(): value for name, value in received.headers.items()}
        delivery = headers[DELIVERY_ID.lower()]
        if delivery in self.taken:
            self.repeated += 1
        else:
            self.taken.add(delivery)
            self.types[headers[EVENT_TYPE.lower()]] += 1
        self.came.set()
        return OK


async def _run(folder: Path, agents: int, seconds: float) -> int:
    sink = _Sink()
    async with webhook_server(sink.take) as server:
        # What it keeps of each request would grow here.
        server.got = _Nothing()
        config = {
            "sinks": {"soak": {"kind": "webhook", "arn": TOPIC, "url": server.url}},
            "limits": {"instances_in_running_deployments": GROUPS * agents},
        }
        coordinator = CoordinatorProcess(folder, config)
        coordinator.start()
        try:
            return await _soak(coordinator, folder, agents, seconds, sink)
        finally:
            coordinator.stop()


class _Nothing(list[Received]):
    def append(self, _received: Received) -> None:
        """Is not kept."""


async def _soak(
    coordinator: CoordinatorProcess, folder: Path, agents: int, seconds: float, sink: _Sink
) -> int:
    assert coordinator.process is not None
    pid = coordinator.process.pid
    swarm = Swarm(agents)
    samples: list[ProcessFigures] = []
    ends: Counter[str] = Counter()
    async with Client(coordinator.profile) as client:
        revision = await _prepare(client, coordinator, swarm, folder)
        began, used = time.monotonic(), cpu_seconds(pid)
        rounds = 0
        while time.monotonic() - began < seconds or rounds < WARM_ROUNDS + 4:
            async with asyncio.TaskGroup() as tasks:
                deployments = [tasks.create_task(_deploy(client, f"g-{n}", revision)) for n in range(GROUPS)]
            ends.update(task.result() for task in deployments)
            rounds += 1
            await _messages(sink, rounds, agents)
            await asyncio.sleep(SETTLE_SECONDS)
            if rounds > WARM_ROUNDS:
                samples.append(figures_of(pid))
                if rounds % 10 == 0:
                    _tell(rounds, time.monotonic() - began, samples[-1])
        took, used = time.monotonic() - began, cpu_seconds(pid) - used
        await swarm.stop()
    reports = sum(agent.reports for agent in swarm.agents)
    print(f"{rounds * GROUPS} deployments to {agents} agents each in {took:.0f} s: {dict(ends)}")
    print(f"{reports:,} reports, {used / reports * 1e6:.0f} µs of the coordinator's processor time each")
    print(f"{sum(sink.types.values()):,} messages ({dict(sink.types)}), {sink.repeated} of them repeated")
    return _judge(samples, rounds, agents, sink, ends)


def _judge(samples: list[ProcessFigures], rounds: int, agents: int, sink: _Sink, ends: Counter[str]) -> int:
    problems = []
    for figure in _figures(samples):
        judgement = judge(figure)
        print(
            f"{figure.name}: {judgement.first:.1f}, {judgement.second:.1f}, {judgement.last:.1f} at the end,"
            f" rises by {judgement.rise * 1024 / GROUPS:.1f} Ki a deployment {judgement.problem}"
        )
        if judgement.problem:
            problems.append(f"{figure.name} {judgement.problem}")
    if len(sink.taken) != _expected(rounds, agents):
        problems.append(f"{_expected(rounds, agents) - len(sink.taken)} messages are missing")
    if set(ends) != {"DEPLOYMENT_STATUS_SUCCEEDED"}:
        problems.append(f"deployments ended as {dict(ends)}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _figures(samples: list[ProcessFigures]) -> Iterator[Figure]:
    yield Figure(name="RSS, MiB", samples=[one.rss_mib for one in samples], may_rise=MAY_RISE_MIB)
    yield Figure(name="private, MiB", samples=[one.private_mib for one in samples], may_rise=MAY_RISE_MIB)
    yield Figure(name="descriptors", samples=[one.descriptors for one in samples], may_grow=2)
    yield Figure(name="threads", samples=[one.threads for one in samples])


def _expected(rounds: int, agents: int) -> int:
    """The announcement of each new trigger, two messages of each deployment, and of the first group's instances one."""
    return GROUPS + rounds * (GROUPS * 2 + agents)


async def _messages(sink: _Sink, rounds: int, agents: int) -> None:
    """Wait until all that is to be told was told; what is missing after that is counted in the end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(sink.taken) < _expected(rounds, agents):
                sink.came.clear()
                await sink.came.wait()


async def _prepare(
    client: Client, coordinator: CoordinatorProcess, swarm: Swarm, folder: Path
) -> types_pb2.RevisionLocation:
    request = tokens_pb2.CreateJoinTokenRequest(unlimited_uses=True, ttl_seconds=3600)
    token = (await client.call(client.tokens.CreateJoinToken, request)).token
    address = coordinator.ready["grpc"]
    await swarm.enrol(address, coordinator.profile.ca(), token)
    await swarm.connect(address.rpartition(":")[0])
    await client.call(client.inventory.CreateApplication, inventory_pb2.CreateApplicationRequest(name="app"))
    for number in range(GROUPS):
        events = [*OF_DEPLOYMENT, *(["InstanceSuccess"] if number == 0 else [])]
        trigger = inventory_pb2.Trigger(name="soak", target_arn=TOPIC, events=events)
        group = inventory_pb2.CreateDeploymentGroupRequest(
            application_name="app",
            name=f"g-{number}",
            selection=inventory_pb2.Selection(
                tag_filters=[inventory_pb2.TagFilter(key="fleet", value="swarm")]
            ),
            options=inventory_pb2.GroupOptions(triggers=inventory_pb2.Triggers(triggers=[trigger])),
        )
        await client.call(client.inventory.CreateDeploymentGroup, group)
    source = folder / "bundle"
    write_bundle(source, {}, {"version": "1"})
    return (await client.push("app", build_bundle(source, folder / "bundle.tgz"))).location


async def _deploy(client: Client, group: str, revision: types_pb2.RevisionLocation) -> str:
    """One deployment; the name of its final status."""
    options = deployments_pb2.DeploymentOptions(
        application_name="app",
        deployment_group_name=group,
        revision=revision,
        deployment_config_name="CodeDeployDefault.AllAtOnce",
    )
    request = deployments_pb2.CreateDeploymentRequest(options=options)
    created = await client.call(client.deployments.CreateDeployment, request)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for change in client.watch(created.deployment_id):
            deployment = change.snapshot.deployment if change.HasField("snapshot") else change.deployment
            if deployment.status in FINAL_STATUSES:
                return types_pb2.DeploymentStatus.Name(deployment.status)
    raise RuntimeError(f"{created.deployment_id}: the watch ended before the deployment")


def _tell(rounds: int, seconds: float, sample: ProcessFigures) -> None:
    print(
        f"{rounds * GROUPS:5} deployments, {seconds:4.0f} s: RSS {sample.rss_mib:.1f} MiB,"
        f" private {sample.private_mib:.1f}, {sample.descriptors} descriptors, {sample.threads} threads",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
