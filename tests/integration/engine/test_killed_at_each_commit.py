"""SIGKILL after each commit of a course with a failure, an alarm, a bake and rollbacks: it ends as if nobody had died.

The agents outlive the coordinator, as they do. Everyday runs kill at every tenth commit, FERRYMAN_DEEP=1 at each.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.core.group_options import (
    AlarmConfiguration,
    GroupOptions,
    Trigger,
    TriggerEventType,
)
from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import (
    AlarmState,
    AutoRollback,
    Creator,
    DeploymentStatus,
    Diagnostics,
    HealthyHostsType,
    MinimumHealthyHosts,
    RollbackEvent,
    ZonalConfig,
)
from ferryman_coordinator.links.orders import CancelOrder, SegmentOrder
from tests.support.clock import START
from tests.support.coordinator_records import bundle
from tests.support.fake_agent import SUCCESS, FakeAgent, failed
from tests.support.killed_coordinator import ALARM, Killed, Lives
from tests.support.virtual_coordinator import TARGET

IS_DEEP = os.environ.get("FERRYMAN_DEEP", "") not in ("", "0")
GOOD, BROKEN, SLOW, LAST = bundle("a"), bundle("b"), bundle("c"), bundle("d")
PLAN = (GOOD, BROKEN, SLOW, LAST)
COUNT = 4
STEP_MS = 5_000
ZONAL = ZonalConfig(first_zone_monitor_seconds=30, monitor_seconds=10)
ONE_DOWN = MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=COUNT - 1)
GROUP = {
    "auto_rollback": AutoRollback(enabled=True, events=frozenset(RollbackEvent)),
    "options": GroupOptions(
        alarms=AlarmConfiguration(enabled=True, alarms=(ALARM,)),
        triggers=(Trigger(name="all", target_arn=TARGET, events=tuple(TriggerEventType)),),
    ),
}


@dataclass
class Course:
    """What people and agents do, whatever becomes of the coordinator."""

    lives: Lives
    kill_after: int
    now: int = START
    agents: list[FakeAgent] = field(default_factory=list)
    alarm: AlarmState = AlarmState.OK

    async def run(self) -> dict[str, Any]:
        for number in range(COUNT):
            agent = FakeAgent(f"mi-{number}")
            agent.script = self._script(agent)
            self.agents.append(agent)
        await self.lives.begin(self.now, 0)
        await self.lives.ask("populate", COUNT, ("a", "b"), GROUP, ZONAL, ONE_DOWN)
        await self._begin()
        while True:
            try:
                if await self._step():
                    break
            except Killed:
                await self._begin()
        for _ in range(3):
            await self._pass()
        outcome: dict[str, Any] = await self.lives.ask("outcome")
        return outcome

    async def _begin(self) -> None:
        """The next life; it may be a short one."""
        for agent in self.agents:
            agent.disconnect()
        while True:
            # So that no two deployments are created at one moment: lists go by that.
            self.now += 1_000
            try:
                await self.lives.begin(self.now, self.kill_after)
                await self.lives.ask("alarm", self.alarm)
                break
            except Killed:
                continue
        for agent in self.agents:
            self.lives.connect(agent)

    async def _step(self) -> bool:
        deployments: Sequence[Deployment] = await self.lives.ask("deployments")
        of_people = [one for one in deployments if one.spec.creator is Creator.USER]
        if any(not one.record.status.is_terminal for one in deployments):
            newest = of_people[-1]
            # What it has begun is stored: else the alarm might end it one lifecycle event earlier.
            stands = any(
                agent.ran and agent.ran[-1][1] == "Install" and not agent.has_reports for agent in self.agents
            )
            is_wanted = newest.spec.revision == SLOW and newest.record.status is DeploymentStatus.IN_PROGRESS
            await self._say(AlarmState.ALARM if is_wanted and stands else AlarmState.OK)
            await self._pass()
            return False
        if len(of_people) == len(PLAN):
            return True
        await self._say(AlarmState.OK)
        revision = PLAN[len(of_people)]
        options = {
            "application_name": "web",
            "group_name": "production",
            "config_name": "zonal" if revision == LAST else "CodeDeployDefault.OneAtATime",
            "revision": revision,
        }
        await self.lives.ask("create", f"key-{len(of_people)}", options)
        return False

    async def _say(self, alarm: AlarmState) -> None:
        if alarm is not self.alarm:
            self.alarm = alarm
            await self.lives.ask("alarm", alarm)

    async def _pass(self) -> None:
        self.now = await self.lives.ask("time", STEP_MS)

    def _script(self, agent: FakeAgent) -> Any:
        async def script(order: SegmentOrder, event: str) -> Diagnostics:
            revision = order.deployment.revision
            if revision == BROKEN and event == "ValidateService":
                return failed()
            if revision == SLOW and event == "Install":
                await agent.until(
                    lambda: any(
                        isinstance(one, CancelOrder) and one.command_id == order.command_id
                        for one in agent.orders
                    )
                )
            return SUCCESS

        return script


async def outcome(directory: Path, kill_after: int) -> tuple[dict[str, Any], int]:
    """How it ends, and after how many lives."""
    directory.mkdir()
    lives = Lives(directory)
    await lives.open()
    course = Course(lives, kill_after)
    try:
        return await course.run(), lives.count
    finally:
        for agent in course.agents:
            await agent.end()
        await lives.close()


@pytest.mark.req("CP-430", "CP-426", "CP-375")
@pytest.mark.timeout(600)
async def test_a_course_ends_the_same_however_often_the_coordinator_is_killed(tmp_path: Path) -> None:
    undisturbed, lives = await outcome(tmp_path / "undisturbed", 0)
    statuses = [(one["status"], one["creator"]) for one in undisturbed["deployments"]]
    assert statuses == [
        (DeploymentStatus.SUCCEEDED, Creator.USER),
        (DeploymentStatus.FAILED, Creator.USER),
        (DeploymentStatus.SUCCEEDED, Creator.ROLLBACK),
        (DeploymentStatus.STOPPED, Creator.USER),
        (DeploymentStatus.SUCCEEDED, Creator.ROLLBACK),
        (DeploymentStatus.SUCCEEDED, Creator.USER),
    ]
    assert lives == 2
    killed, lives = await outcome(tmp_path / "killed", 1 if IS_DEEP else 10)
    assert lives > (100 if IS_DEEP else 8)
    assert killed == undisturbed
