"""What `status` shows of the commands of the moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ferryman_agent.core.messages import Segment
from ferryman_agent.runtime.status import commands_of
from tests.support.agent_bench import LoopBench
from tests.support.segments import a_segment


async def test_a_command_that_is_forgotten_before_the_agent_has_tidied_up_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator may answer its end with Forget while what a large install left is still being written."""
    bench = LoopBench(tmp_path)
    await bench.start()
    tidying, tidied = asyncio.Event(), asyncio.Event()

    async def finish(_: Segment) -> None:
        tidying.set()
        await tidied.wait()

    monkeypatch.setattr(bench.work, "finish", finish)
    over, waiting = (a_segment(f"d-{number}", events=("Install",)) for number in (1, 2))
    await bench.loop.receive(over)
    await bench.loop.receive(waiting)
    assert [each.command_id for each in commands_of(bench.loop.live, bench.journal.commands)] == [
        over.command_id,
        waiting.command_id,
    ]
    await bench.work.started("d-1 Install")
    bench.work.end("d-1 Install")
    await tidying.wait()
    bench.journal.acknowledge(bench.journal.outbox.last_number)
    bench.loop.forget(over.deployment.deployment_id)
    (shown,) = commands_of(bench.loop.live, bench.journal.commands)
    assert (shown.command_id, shown.is_running) == (waiting.command_id, False)
    assert shown.since == bench.journal.commands[waiting.command_id].last_at
    tidied.set()
    await bench.work.started("d-2 Install")
    await bench.crash()
