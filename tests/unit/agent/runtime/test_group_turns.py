"""Agent and local deployments take turns in a deployment group, by a lock that both find below the root."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from ferryman_agent.core.facts import Perform, WorkEnded
from ferryman_agent.core.lifecycle import work_of
from ferryman_agent.core.messages import Diagnostics, GroupId
from ferryman_agent.files.layout import Layout
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.runtime.group_turns import POLL_SECONDS, GroupBusy, GroupTurns
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.prefetch import ArchiveTurns
from ferryman_agent.runtime.watch import EventWatch
from ferryman_agent.runtime.work import Worker, WorkSettings
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import a_segment

GROUP = GroupId("g-1")


def _turns(folder: Path) -> GroupTurns:
    """As another process would have them: locks of one process exclude each other, too."""
    return GroupTurns(Layout(folder / "root"), ManualAgentClock())


@pytest.mark.req("AG-122", "AG-505")
def test_a_group_has_one_worker_and_says_which(tmp_path: Path) -> None:
    ours, theirs = _turns(tmp_path), _turns(tmp_path)
    ours.hold(GROUP, a_segment("d-7").deployment.deployment_id)
    with pytest.raises(GroupBusy, match=rf"group g-1 .* by deployment d-7 \(process {os.getpid()}\)"):
        theirs.hold(GROUP, a_segment("d-8").deployment.deployment_id)
    theirs.hold(GroupId("g-2"), a_segment("d-8").deployment.deployment_id)
    ours.release(GROUP, a_segment("d-7").deployment.deployment_id)
    theirs.hold(GROUP, a_segment("d-8").deployment.deployment_id)
    assert (Layout(tmp_path / "root").group_lock("g-1").stat().st_mode & 0o777) == 0o600


def test_deployments_of_one_process_share_the_turn(tmp_path: Path) -> None:
    ours, theirs = _turns(tmp_path), _turns(tmp_path)
    first, second = (a_segment(name).deployment.deployment_id for name in ("d-1", "d-2"))
    ours.hold(GROUP, first)
    ours.hold(GROUP, second)
    ours.release(GROUP, first)
    with pytest.raises(GroupBusy):
        theirs.hold(GROUP, first)
    ours.release(GROUP, second)
    ours.release(GROUP, second)
    theirs.hold(GROUP, first)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    path = Layout(tmp_path / "root").group_lock("g-1")
    path.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        _turns(tmp_path).hold(GROUP, a_segment("d-1").deployment.deployment_id)
    assert victim.read_text() == "precious"


class Bench:
    """A worker that shares its root with somebody else."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualAgentClock()
        self.layout = Layout(folder / "root", state_dir=folder / "state")
        self.layout.prepare()
        self.journal = Journal(folder / "state" / "journal", self.clock)
        self.journal.open()
        self.stop = asyncio.Event()
        self.called: list[str] = []
        self.worker = Worker(
            layout=self.layout,
            clock=self.clock,
            settings=WorkSettings(hooks=HookSettings()),
            download=lambda deployment, progress: self._do("download"),
            install=lambda deployment: self._do("install"),
            run_hooks=self._run_hooks,
            turns=ArchiveTurns(),
        )

    async def _do(self, what: str) -> str:
        self.called.append(what)
        return "Succeeded"

    async def _run_hooks(self, *_: object, **__: object) -> Diagnostics:
        self.called.append("hooks")
        return Diagnostics()

    async def perform(self, event: str) -> WorkEnded:
        segment = a_segment()
        watch = EventWatch(
            segment.command_id,
            event,
            stop=self.stop,
            journal=self.journal,
            lines=LiveLines(),
            clock=self.clock,
            changed=lambda: None,
        )
        return await self.worker.perform(segment, Perform(lifecycle_event=event, work=work_of(event)), watch)


@pytest.mark.req("AG-122", "AG-505")
@pytest.mark.parametrize("event", ["DownloadBundle", "Install", "AfterInstall"])
async def test_the_agent_waits_for_a_local_deployment(tmp_path: Path, event: str) -> None:
    bench, local = Bench(tmp_path), _turns(tmp_path)
    archive = bench.layout.create_deployment("g-1", "d-1").archive
    archive.mkdir()
    (archive / "appspec.yml").write_text(
        "version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n    - location: s.sh\n"
    )
    local.hold(GROUP, a_segment("d-local").deployment.deployment_id)
    working = asyncio.ensure_future(bench.perform(event))
    await bench.clock.until_sleeping(POLL_SECONDS)
    assert bench.called == []
    local.release(GROUP, a_segment("d-local").deployment.deployment_id)
    bench.clock.advance(POLL_SECONDS)
    assert (await working).diagnostics.is_success
    assert len(bench.called) == 1
    # From here to the end of its command the group is the agent's.
    with pytest.raises(GroupBusy, match=r"deployment d-1 \(process"):
        local.hold(GROUP, a_segment("d-local").deployment.deployment_id)
    await bench.worker.finish(a_segment())
    local.hold(GROUP, a_segment("d-local").deployment.deployment_id)
    bench.journal.close()


async def test_a_command_that_waits_for_a_local_deployment_can_be_stopped(tmp_path: Path) -> None:
    bench, local = Bench(tmp_path), _turns(tmp_path)
    local.hold(GROUP, a_segment("d-local").deployment.deployment_id)
    working = asyncio.ensure_future(bench.perform("DownloadBundle"))
    await bench.clock.until_sleeping(POLL_SECONDS)
    bench.stop.set()
    ended = await working
    assert ended.is_stopped
    assert bench.called == []
    await bench.worker.finish(a_segment())
    bench.journal.close()
