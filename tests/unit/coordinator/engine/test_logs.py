"""Live hook output: to every follower, bounded, honest about what was lost."""

from __future__ import annotations

import asyncio

from ferryman_coordinator.core.model import DeploymentId, InstanceId, Instant
from ferryman_coordinator.engine.logs import LogLine, Logs

D, A, B = DeploymentId("d-1"), InstanceId("mi-a"), InstanceId("mi-b")


def line(text: str, instance_id: InstanceId = A, dropped: int = 0) -> LogLine:
    return LogLine(
        instance_id=instance_id,
        lifecycle_event="AfterInstall",
        script_name="scripts/after.sh",
        at=Instant(0),
        is_stderr=False,
        text=text,
        dropped_before=dropped,
    )


async def collect(logs: Logs, instance_id: InstanceId | None = None) -> list[tuple[str, int]]:
    return [(found.text, found.dropped_before) async for found in logs.follow(D, instance_id)]


async def started(*followers: asyncio.Task[list[tuple[str, int]]]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(follower.done() for follower in followers)


async def test_every_follower_gets_the_lines_and_ends_with_the_deployment() -> None:
    logs = Logs()
    logs.open(D)
    everything = asyncio.create_task(collect(logs))
    only_b = asyncio.create_task(collect(logs, B))
    await started(everything, only_b)
    logs.publish(D, [line("one"), line("two", B)])
    logs.close(D)
    assert await everything == [("one", 0), ("two", 0)]
    assert await only_b == [("two", 0)]


async def test_a_late_follower_gets_recent_lines() -> None:
    logs = Logs(recent_lines=2)
    logs.open(D)
    logs.publish(D, [line("1"), line("2"), line("3")])
    follower = asyncio.create_task(collect(logs))
    await started(follower)
    logs.close(D)
    assert await follower == [("2", 0), ("3", 0)]


async def test_a_slow_follower_loses_the_oldest_lines_and_is_told_how_many() -> None:
    logs = Logs(queue_lines=2)
    logs.open(D)
    follower = asyncio.create_task(collect(logs))
    await started(follower)
    # The agent says that it dropped three lines before the second one.
    logs.publish(D, [line("1"), line("2", dropped=3), line("3"), line("4")])
    logs.close(D)
    assert await follower == [("3", 5), ("4", 0)]


async def test_nobody_follows_a_deployment_that_is_over() -> None:
    logs = Logs()
    logs.publish(D, [line("lost")])
    assert await collect(logs) == []
    logs.open(D)
    logs.close(D)
    assert await collect(logs) == []
    assert logs._followers == {}
