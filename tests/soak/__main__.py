"""`make soak`: hundreds of deployments by a real coordinator to one real agent, which must not grow by them.

    python -m tests.soak [DEPLOYMENTS] [--json FILE]

Deployments go out by threes, each to a group of its own; `work.py` says what they are. After every three, when nothing
runs any more, both processes are measured, and the files that the agent keeps are counted. At the end there is a table,
and exit code 1 when something grew (see `growth.py`) or is over its limit. 300 deployments take some ten minutes and
6 GB in the temporary directory (TMPDIR).

Before that come 500 small ones that are not measured. The database grows with each deployment, and the coordinator's
cache of it (8 MiB, `store/sqlite.py`) with the database, by 20 KiB each until it is full: no leak smaller than that
could be seen beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client.client import Client
from tests.soak.growth import SAMPLES_TO_JUDGE, Figure, Judgement, judge
from tests.soak.work import GROUPS, ROLLED_BACK_GROUPS, Kind, Work, kind_of
from tests.support.fleet import Fleet
from tests.support.process_figures import ProcessFigures, figures_of

AT_ONCE = 3
WARM_UP = 500
SETTLE_SECONDS = 1.0
"""The agent gives memory back half a second after its last deployment (`ferryman_agent.host.memory`)."""
_RISE = AT_ONCE / 1024
"""MiB from one sample to the next, where each deployment leaves 1 KiB behind."""
MAX_REVISIONS = 5
"""The agent's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One moment at which nothing runs. `revisions`: the most that any deployment group has."""

    agent: ProcessFigures
    coordinator: ProcessFigures
    files: int
    revisions: int


def main(arguments: list[str]) -> int:
    """See the module text."""
    parser = argparse.ArgumentParser(prog="make soak", description="Many deployments to one agent")
    parser.add_argument("deployments", nargs="?", type=int, default=300, help="how many; 300 without it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    if options.deployments < 4 * AT_ONCE:
        parser.error(f"it takes at least {4 * AT_ONCE} deployments to compare anything")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        fleet = Fleet(Path(folder), agents=1)
        try:
            fleet.start()
            for number in range(GROUPS):
                events = [types_pb2.ROLLBACK_EVENT_DEPLOYMENT_FAILURE] if number in ROLLED_BACK_GROUPS else []
                fleet.create_group(f"g-{number}", rollback=events)
            samples = asyncio.run(_run(fleet, Path(folder), options.deployments))
        except Exception:
            print(fleet.logs(), file=sys.stderr)
            raise
        finally:
            fleet.stop()
    judgements = [judge(figure) for figure in figures(samples)]
    _print(judgements)
    if options.json:
        options.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=1) + "\n")
    return 1 if any(judgement.problem for judgement in judgements) else 0


async def _run(fleet: Fleet, scratch: Path, deployments: int) -> list[Sample]:
    samples = []
    started = time.monotonic()
    async with Client(fleet.coordinator.profile) as client:
        work = Work(client, scratch)
        if deployments >= SAMPLES_TO_JUDGE * AT_ONCE:
            for numbers in _by_threes(deployments, WARM_UP):
                await _together(work.deploy(number, Kind.PLAIN) for number in numbers)
            work.done.clear()
        for numbers in _by_threes(0, deployments):
            await _together(work.deploy(number, kind_of(number)) for number in numbers)
            await asyncio.sleep(SETTLE_SECONDS)
            samples.append(_sample(fleet))
            _tell(numbers[-1] + 1, time.monotonic() - started, samples[-1])
        await _nothing_is_wrong(client)
    print(f"{work.done.total()} deployments: {dict(work.done)}")
    return samples


def _by_threes(begin: int, count: int) -> Iterator[range]:
    for first in range(begin, begin + count, AT_ONCE):
        yield range(first, min(first + AT_ONCE, begin + count))


async def _together(works: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for one in works:
            tasks.create_task(one)


async def _nothing_is_wrong(client: Client) -> None:
    """The agent that has been through all this is still there, and has not been started anew in between."""
    found = await client.call(client.inventory.ListInstances, inventory_pb2.ListInstancesRequest())
    (instance,) = found.instances
    if not instance.is_connected:
        raise RuntimeError("the agent is not connected any more")


def _sample(fleet: Fleet) -> Sample:
    (agent,) = fleet.agents
    assert agent.process is not None
    assert fleet.coordinator.process is not None
    kept = [path for name in ("deployment-root", "state", "log") for path in (agent.home / name).rglob("*")]
    revisions = [len(list(group.glob("d-*"))) for group in (agent.home / "deployment-root").iterdir()]
    return Sample(
        agent=figures_of(agent.process.pid),
        coordinator=figures_of(fleet.coordinator.process.pid),
        files=len(kept),
        revisions=max(revisions),
    )


def figures(samples: list[Sample]) -> Iterator[Figure]:
    """Every series, and what it may do. Memory may rise by 2 KiB a deployment in the agent, by 4 in the coordinator."""
    agent, coordinator = [one.agent for one in samples], [one.coordinator for one in samples]
    yield Figure(name="agent RSS, MiB", samples=[one.rss_mib for one in agent], may_rise=2 * _RISE, limit=45)
    yield Figure(
        name="agent private, MiB", samples=[one.private_mib for one in agent], may_rise=2 * _RISE, limit=20
    )
    yield Figure(name="agent descriptors", samples=[one.descriptors for one in agent])
    yield Figure(name="agent threads", samples=[one.threads for one in agent])
    yield Figure(name="agent children", samples=[one.children for one in agent], limit=0)
    yield Figure(name="agent files", samples=[one.files for one in samples], may_grow=20)
    yield Figure(name="revisions a group", samples=[one.revisions for one in samples], limit=MAX_REVISIONS)
    yield Figure(
        name="coordinator RSS, MiB", samples=[one.rss_mib for one in coordinator], may_rise=4 * _RISE
    )
    yield Figure(
        name="coordinator private, MiB", samples=[one.private_mib for one in coordinator], may_rise=4 * _RISE
    )
    yield Figure(name="coordinator descriptors", samples=[one.descriptors for one in coordinator])
    yield Figure(name="coordinator threads", samples=[one.threads for one in coordinator])


def _tell(done: int, seconds: float, sample: Sample) -> None:
    agent, coordinator = sample.agent, sample.coordinator
    print(
        f"{done:4} deployments, {seconds:4.0f} s: agent {agent.rss_mib:.1f} MiB, private {agent.private_mib:.1f},"
        f" {agent.descriptors} descriptors, {agent.threads} threads, {sample.files} files;"
        f" coordinator {coordinator.rss_mib:.1f} MiB, {coordinator.descriptors}, {coordinator.threads}",
        file=sys.stderr,
    )


def _print(judgements: list[Judgement]) -> None:
    table = Table(title="Ferryman soak: medians", title_justify="left")
    table.add_column("figure")
    for heading in ("first quarter", "second", "last", "most", "rise in 100", ""):
        table.add_column(heading, justify="right")
    for one in judgements:
        numbers = [f"{value:,.1f}" for value in (one.first, one.second, one.last, one.most)]
        table.add_row(one.name, *numbers, f"{one.rise * 100 / AT_ONCE:.2f}", one.problem or "ok")
    Console(width=None if sys.stdout.isatty() else 130).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
