"""`make simulate`: the rollout core against many pretend instances.

python -m tests.simulation [--targets 100000] [--minimum 50%]  speed and memory, everything in order
python -m tests.simulation --faults [--targets 1000] [--seed N]              with every kind of trouble, judged
python -m tests.simulation --day [--agents 1000] [--hours 24] [--seed N]     a whole coordinator for a day, judged
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time

import structlog

from ferryman_coordinator.core.model import MinimumHealthyHosts
from tests.simulation.day import Day, simulate_day
from tests.simulation.judge import Scenario, simulate
from tests.simulation.network import ROUGH
from tests.simulation.speed import measure
from tests.support.rollouts import count, percent

BUDGET_MICROSECONDS = 20
BUDGET_BYTES = 200_000_000


def main(arguments: list[str]) -> int:
    """Exit code 0, or 1 when a simulation was judged wrong; speed is shown, not judged."""
    options = _parse(arguments)
    if options.day:
        return _day(Day(seed=options.seed, agents=options.agents, hours=options.hours))
    if options.faults:
        return _rough(options.targets or 1_000, options.seed, options.minimum)
    speed = measure(options.targets or 100_000, options.minimum)
    print(
        f"{speed.targets:,} targets, {speed.lifecycle_events:,} lifecycle events, {speed.handled:,} events handled"
    )
    print(f"{speed.handled / speed.seconds:12,.0f} events/s of processor time")
    print(f"{speed.microseconds_per_call:12.2f} µs an event handled (budget {BUDGET_MICROSECONDS})")
    print(f"{speed.microseconds_per_lifecycle_event:12.2f} µs a lifecycle event, with its acknowledgements")
    print(f"{speed.start_seconds:12.2f} s to start")
    print(f"{speed.grown_bytes / 1e6:12.1f} MB of memory (budget {BUDGET_BYTES / 1e6:.0f})")
    print(f"{speed.peak_bytes / 1e6:12.1f} MB peak of the whole process, pretend instances included")
    return 0


def _day(day: Day) -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began, used = time.perf_counter(), time.process_time()
    print(f"seed {day.seed}: {day.hours} hours of {day.agents:,} agents in {day.groups} groups", flush=True)
    try:
        report = asyncio.run(simulate_day(day))
    except AssertionError as wrong:
        print(wrong, file=sys.stderr)
        return 1
    for (fate, status), number in sorted(report.ends.items(), key=str):
        print(f"{number:8,} deployments meant to be {fate or 'rollbacks'} ended as {status}")
    print(f"{report.lifecycle_events:8,} lifecycle events, {report.messages:,} messages taken by the sink")
    print(f"{report.audit_records:8,} audit records, chain whole")
    print("         " + ", ".join(f"{number:,} × {what}" for what, number in sorted(report.troubles.items())))
    print(f"{time.perf_counter() - began:8.1f} s, {time.process_time() - used:.1f} s of processor time")
    return 0


def _rough(targets: int, seed: int, minimum: MinimumHealthyHosts) -> int:
    began = time.perf_counter()
    try:
        coordinator = simulate(
            Scenario(
                seed=seed,
                instances=targets,
                faults=ROUGH,
                options={"minimum": minimum, "max_targets": targets},
            )
        )
    except AssertionError as wrong:
        print(wrong, file=sys.stderr)
        return 1
    record = coordinator.kept.record
    assert record is not None
    print(
        f"seed {seed}: {record.status} after {coordinator.handled:,} events and {coordinator.restarts} restarts"
    )
    print(f"{time.perf_counter() - began:.1f} s")
    if record.error is not None:
        print(f"{record.error.code}: {record.error.message}")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make simulate", description="The rollout core against pretend instances"
    )
    parser.add_argument("--targets", type=int, help="how many (100,000; with --faults 1,000)")
    parser.add_argument(
        "--minimum", type=_minimum, default=count(0), help="healthy: 3 or 50%% (0: all at once)"
    )
    parser.add_argument(
        "--faults", action="store_true", help="break streams, repeat messages, kill everybody"
    )
    parser.add_argument("--day", action="store_true", help="a whole coordinator, on a clock that runs fast")
    parser.add_argument("--agents", type=int, default=1_000, help="of the day")
    parser.add_argument("--hours", type=int, default=24, help="of the day")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    return parser.parse_args(arguments)


def _minimum(text: str) -> MinimumHealthyHosts:
    return percent(int(text[:-1])) if text.endswith("%") else count(int(text))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
