"""`kill -9` at every step of a whole command: after the restart the machine is as before or as after, and the result
reaches the coordinator once.

Every record of the journal is tried each time; of the steps between them, on files, a part, and with
FERRYMAN_TEST_ALL_FAULTS=1 all.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ferryman.v1 import agents_pb2 as pb
from tests.support.agent_home import PATIENCE_SECONDS, AgentHome
from tests.support.fake_coordinator import FakeCoordinator, a_description

EVENTS = ["ApplicationStop", "DownloadBundle", "BeforeInstall", "Install", "AfterInstall"]
COMMAND = "d-2/i-1/1/0"
EVERY = 1 if os.environ.get("FERRYMAN_TEST_ALL_FAULTS") else 9

SPEC = """version: 0.0
os: linux
files:
  - {source: app, destination: %s}
permissions:
  - {object: %s, pattern: "*.txt", mode: "640", type: [file]}
hooks:
  ApplicationStop: [{location: hook.sh}]
  BeforeInstall: [{location: hook.sh}]
  AfterInstall: [{location: hook.sh}]
"""


class World:
    """An agent with revision 1 installed, a copy of it to go back to, and revision 2 to come."""

    def __init__(self, folder: Path, coordinator: FakeCoordinator) -> None:
        self.coordinator = coordinator
        self.agent = AgentHome(folder / "agent")
        self.target = folder / "srv" / "app"
        self.bundles = folder / "bundles"
        self.copy = folder / "copy"
        self.bundles.mkdir()
        self._acknowledged = 0

    def bundle(self, name: str, files: dict[str, str]) -> Path:
        path = self.bundles / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("appspec.yml", SPEC % (self.target, self.target))
            hook = zipfile.ZipInfo("hook.sh")
            hook.external_attr = 0o755 << 16
            archive.writestr(
                hook, f'#!/bin/sh\necho "$DEPLOYMENT_ID $LIFECYCLE_EVENT" >> {self.agent.home}/story\n'
            )
            for file, content in files.items():
                archive.writestr(f"app/{file}", content)
        return path

    def command(self, deployment: str, bundle: Path) -> pb.RunSegment:
        described = a_description(deployment, "g-1", download_url=f"file://{bundle}")
        content = bundle.read_bytes()
        described.revision.bundle.sha256 = hashlib.sha256(content).hexdigest()
        described.revision.bundle.size_bytes = len(content)
        return pb.RunSegment(
            command_id=f"{deployment}/i-1/1/0",
            deployment=described,
            lifecycle_events=EVENTS,
            event_timeout_seconds=3600,
        )

    async def prepare(self) -> None:
        """Installs revision 1 and keeps what the machine looks like then."""
        code, printed = await self.agent.enroll(self.coordinator)
        assert code == 0, printed
        first = self.bundle("first", {"kept.txt": "kept", "changed.txt": "one", "old/gone.txt": "gone"})
        self.second = self.bundle(
            "second", {"kept.txt": "kept", "changed.txt": "two", "new/added.txt": "added"}
        )
        await self.agent.start()
        session = await self.coordinator.connected()
        session.send(run_segment=self.command("d-1", first))
        assert await self.coordinator.finished("d-1/i-1/1/0") == "SUCCEEDED", self.coordinator.story()
        assert (await self.agent.run("stop"))[0] == 0
        await self.agent.ended()
        self._acknowledged = self.coordinator.acknowledged
        self.before = self.tree()
        for place in (self.agent.home, self.target.parent):
            shutil.copytree(place, self.copy / place.name, symlinks=True)

    def go_back(self) -> None:
        """The machine, and what the coordinator knows, as after revision 1."""
        for place in (self.agent.home, self.target.parent):
            shutil.rmtree(place)
            shutil.copytree(self.copy / place.name, place, symlinks=True)
        self.coordinator.reports.clear()
        self.coordinator.report_copies.clear()
        self.coordinator.acks.clear()
        self.coordinator.acknowledged = self._acknowledged

    async def run_into(self, step: int, record: Path | None = None) -> None:
        """Gives revision 2 to an agent that dies at that step, or survives and writes its steps down."""
        environ = dict(self.agent.environ)
        if record is not None:
            environ["FERRYMAN_TEST_STEPS"] = str(record)
        with self.agent.output.open("ab") as output:
            self.agent.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.crashing_agent", str(step), "run"),
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        session = await self.coordinator.connected(len(self.coordinator.sessions) + 1)
        session.send(run_segment=self.command("d-2", self.second))
        if step:
            assert await self.agent.ended() == -9

    async def come_back(self) -> str:
        """Starts the agent again, as the coordinator sends the command again; returns how it ended."""
        await self.agent.start()
        session = await self.coordinator.connected(len(self.coordinator.sessions) + 1)
        if not any(report.HasField("segment_finished") for report in self.coordinator.reports.values()):
            session.send(run_segment=self.command("d-2", self.second))
        return await self.coordinator.finished(COMMAND)

    def tree(self) -> dict[str, tuple[int, str]]:
        """Every entry below the target: its mode and content."""
        found = {}
        for path in sorted(self.target.rglob("*")):
            content = path.read_text() if path.is_file() else "/"
            found[str(path.relative_to(self.target))] = (path.stat().st_mode, content)
        return found

    def story(self) -> list[str]:
        return [
            line for line in (self.agent.home / "story").read_text().splitlines() if line.startswith("d-2 ")
        ]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with FakeCoordinator() as coordinator:
        made = World(tmp_path, coordinator)
        try:
            await made.prepare()
            yield made
        finally:
            await made.agent.close()


@pytest.mark.timeout(900)
@pytest.mark.req("AG-102", "V2-001", "V2-003", "V2-009", "AG-133", "AG-X09", "AG-T44")
async def test_killed_at_every_step_it_ends_as_before_or_as_after_and_says_so_once(world: World) -> None:
    steps = world.agent.home.with_name("steps")
    await world.run_into(0, steps)
    assert await world.coordinator.finished(COMMAND) == "SUCCEEDED"
    assert (await world.agent.run("stop", "--wait"))[0] == 0
    await world.agent.ended()
    after, names = world.tree(), steps.read_text().splitlines()
    assert after != world.before
    journal = [number for number, name in enumerate(names, 1) if name.startswith(("before ", "after "))]
    between = [number for number in range(1, len(names) + 1) if number not in journal]
    assert len(journal) > 2 * len(EVENTS)
    assert len(between) > len(EVENTS)
    results: Counter[str] = Counter()
    for step in sorted({*journal, *between[::EVERY]}):
        where = f"killed at step {step}, {names[step - 1]}"
        world.go_back()
        try:
            async with asyncio.timeout(3 * PATIENCE_SECONDS):
                await world.run_into(step)
                result = await world.come_back()
        except (TimeoutError, AssertionError) as error:
            raise AssertionError(f"{where}: {error}\n{world.agent.log()}") from None
        results[result] += 1
        ends = [one for one in world.coordinator.story(COMMAND) if one.startswith("end ")]
        assert ends == [f"end {result}"], f"{where}: {world.coordinator.story()}"
        finished = [one.split()[1] for one in world.coordinator.story(COMMAND) if one.split()[0].isupper()]
        assert len(finished) == len(set(finished)), f"{where}: {world.coordinator.story()}"
        assert len(world.story()) == len(set(world.story())), f"{where}: a hook ran twice: {world.story()}"
        tree = world.tree()
        assert tree in (world.before, after), f"{where} ({result}): {tree}"
        if result == "SUCCEEDED":
            assert tree == after, where
        await world.agent.kill()
    assert results["SUCCEEDED"] > 0
    assert results["FAILED"] > 0
