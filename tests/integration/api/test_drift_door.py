"""What agents find installed, over real gRPC: stored, shown, asked for; and what a rollout is told of it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import deployments_pb2, inventory_pb2, types_pb2
from ferryman_coordinator.operations import drift
from tests.integration.api.test_agent_door import order, prepare
from tests.support.coordinator import (
    EnrolledAgent,
    Metadata,
    RunningCoordinator,
    deployments_stub,
    inventory_stub,
    refusal,
    running_coordinator,
)
from tests.support.wire_agent import WireAgent, connected

CHANGED = [
    pb.DriftedFile(path="/srv/a", drift=pb.FILE_DRIFT_CONTENT),
    pb.DriftedFile(path="/srv/b", drift=pb.FILE_DRIFT_MISSING),
]


class Door:
    """What a person asks."""

    def __init__(self, channel: grpc.aio.Channel, admin: Metadata) -> None:
        self.channel = channel
        self.admin = admin

    async def health(self, instance: str = "web-1") -> inventory_pb2.InstanceDeploymentHealth:
        request = inventory_pb2.GetInstanceRequest(instance=instance)
        answer = await inventory_stub(self.channel).GetInstance(request, metadata=self.admin)
        (health,) = answer.instance.health
        return health

    async def check(self, **given: object) -> inventory_pb2.InstanceDeploymentHealth:
        request = inventory_pb2.CheckInstanceRequest(**({"instance": "web-1"} | given))  # type: ignore[arg-type]
        answer = await inventory_stub(self.channel).CheckInstance(request, metadata=self.admin)
        (health,) = answer.instance.health
        return health

    async def group(self) -> inventory_pb2.DeploymentGroup:
        request = inventory_pb2.GetDeploymentGroupRequest(application_name="shop", name="web")
        answer = await inventory_stub(self.channel).GetDeploymentGroup(request, metadata=self.admin)
        return answer.deployment_group

    async def group_id(self) -> str:
        return (await self.group()).deployment_group_id


async def deployed(coordinator: RunningCoordinator, door: Door, *agents: WireAgent) -> str:
    """Deploys to every agent, and returns the deployment's id once it is over."""
    location = await prepare(coordinator, door.channel)
    return await deploy_again(coordinator, door, location, *agents)


async def deploy_again(
    coordinator: RunningCoordinator, door: Door, location: types_pb2.RevisionLocation, *agents: WireAgent
) -> str:
    deployment_id = await order(coordinator, door.channel, location)

    async def play(agent: WireAgent) -> None:
        await agent.hear_ack(await agent.run_segment((await agent.hear("run_segment")).run_segment))

    await asyncio.gather(*(play(agent) for agent in agents))
    watch = deployments_stub(door.channel).WatchDeployment(
        deployments_pb2.WatchDeploymentRequest(deployment_id=deployment_id), metadata=door.admin
    )
    async for _ in watch:
        pass
    return deployment_id


def found(group_id: str, deployment_id: str, **fields: object) -> pb.InstalledGroup:
    given = {"deployment_group_id": group_id, "deployment_id": deployment_id, "files_checked": 9} | fields
    return pb.InstalledGroup(**given)  # type: ignore[arg-type]  # any field


async def told(agent: WireAgent, door: Door, group: pb.InstalledGroup, name: str = "web-1") -> None:
    """Has the agent tell by itself, and waits until that is shown."""
    await agent.say(installed_state=pb.InstalledState(groups=[group]))
    async with asyncio.timeout(20):
        while (await door.health(name)).installed != group:  # noqa: ASYNC110 - only asking shows it
            await asyncio.sleep(0.01)


@pytest.mark.req("AG-554", "AG-556")
async def test_findings_are_shown_until_another_deployment_has_succeeded(
    coordinator: RunningCoordinator,
) -> None:
    enrolled = await coordinator.enrol("web-1", role="web")
    async with coordinator.channel() as channel, connected(enrolled) as agent:
        door = Door(channel, coordinator.admin)
        await agent.hello()
        location = await prepare(coordinator, channel)
        first = await deploy_again(coordinator, door, location, agent)
        assert not (await door.health()).HasField("installed")
        group_id = await door.group_id()
        state = found(group_id, first, files_drifted=2, drifted=CHANGED, checked_at=5)
        await told(agent, door, state)
        group = await door.group()
        assert (group.checked_instances, group.drifted_instances) == (1, 1)
        second = await deploy_again(coordinator, door, location, agent)
        assert not (await door.health()).HasField("installed")
        group = await door.group()
        assert (group.checked_instances, group.drifted_instances) == (0, 0)
        await told(agent, door, found(group_id, second))
        group = await door.group()
        assert (group.checked_instances, group.drifted_instances) == (1, 0)


@pytest.mark.req("AG-554")
async def test_nobody_tells_of_what_was_never_deployed_to_them(coordinator: RunningCoordinator) -> None:
    ours, other = await coordinator.enrol("web-1", role="web"), await coordinator.enrol("db-1", role="db")
    async with (
        coordinator.channel() as channel,
        connected(ours) as agent,
        connected(other) as liar,
    ):
        door = Door(channel, coordinator.admin)
        await agent.hello()
        await liar.hello()
        deployment_id = await deployed(coordinator, door, agent)
        group_id = await door.group_id()
        lie = found(group_id, deployment_id, files_drifted=9)
        await liar.say(installed_state=pb.InstalledState(groups=[lie, found("none", deployment_id)]))
        # Whatever was said before it has been dealt with when this is.
        await told(agent, door, found(group_id, deployment_id))
        await liar.say(goodbye=pb.Goodbye())
        await liar.ended()
        with closing(sqlite3.connect(Path(coordinator.ready.data_dir, "ferryman.db"))) as database:
            stored = database.execute("SELECT instance_id, group_id FROM installed_states").fetchall()
        assert stored == [(ours.instance_id, group_id)]
        group = await door.group()
        assert (group.checked_instances, group.drifted_instances) == (1, 0)


@pytest.mark.req("AG-555")
async def test_a_check_is_ordered_and_its_answer_waited_for(coordinator: RunningCoordinator) -> None:
    enrolled = await coordinator.enrol("web-1", role="web")
    async with coordinator.channel() as channel, connected(enrolled) as agent:
        door = Door(channel, coordinator.admin)
        await agent.hello()
        deployment_id = await deployed(coordinator, door, agent)
        group_id = await door.group_id()
        asking = asyncio.create_task(door.check(deployment_group_name="web", with_digests=True))
        asked = (await agent.hear("check_installed")).check_installed
        assert list(asked.deployment_group_ids) == [group_id]
        assert asked.with_digests
        state = found(group_id, deployment_id, files_drifted=2, drifted=CHANGED, with_digests=True)
        # Another's answer is none.
        await agent.say(installed_state=pb.InstalledState(check_id="c-0", groups=[]))
        await agent.say(installed_state=pb.InstalledState(check_id=asked.check_id, groups=[state]))
        assert (await asking).installed == state


@pytest.mark.req("AG-555")
async def test_who_does_not_answer_is_named_and_why(coordinator: RunningCoordinator) -> None:
    enrolled = await coordinator.enrol("web-1", role="web")
    async with coordinator.channel() as channel:
        door = Door(channel, coordinator.admin)
        async with connected(enrolled) as agent:
            await agent.hello()
            await deployed(coordinator, door, agent)
            code, fault = await refusal(door.check(wait_seconds=1))
            assert (code, fault.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "InstanceSilentException")
            assert "web-1 has not answered within 1 s" in fault.message
            asking = asyncio.create_task(refusal(door.check()))
            # That of the question before, which nobody waits for any more.
            await agent.hear("check_installed")
            asked = (await agent.hear("check_installed")).check_installed
            busy = pb.InstalledGroup(
                deployment_group_id=await door.group_id(), error="a deployment is under way"
            )
            await agent.say(installed_state=pb.InstalledState(check_id=asked.check_id, groups=[busy]))
            code, fault = await asking
            assert (code, fault.reason) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "InstanceNotCheckedException",
            )
            assert "a deployment is under way" in fault.message
            assert not (await door.health()).HasField("installed")
            await agent.say(goodbye=pb.Goodbye())
            await agent.ended()
        code, fault = await refusal(door.check())
        assert (code, fault.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "InstanceNotConnectedException")
        code, fault = await refusal(door.check(deployment_group_name="other"))
        assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "DeploymentGroupDoesNotExistException")
        code, fault = await refusal(door.check(instance="none"))
        assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "InstanceNotRegisteredException")
        code, fault = await refusal(door.check(wait_seconds=100_000))
        assert code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.req("AG-558")
async def test_a_rollout_asks_who_could_go_back_and_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "FRESH_MS", 0)
    monkeypatch.setattr(drift, "READINESS_S", 0.5)
    async with running_coordinator(tmp_path / "data") as coordinator, coordinator.channel() as channel:
        door = Door(channel, coordinator.admin)
        homes: list[EnrolledAgent] = [
            await coordinator.enrol(name, role="web") for name in ("web-1", "web-2", "web-3", "web-4")
        ]
        async with connected(homes[0]) as one, connected(homes[1]) as two, connected(homes[2]) as three:
            for agent in (one, two, three):
                await agent.hello()
            async with connected(homes[3]) as old:
                await old.hello()
                location = await prepare(coordinator, channel)
                first = await deploy_again(coordinator, door, location, one, two, three, old)
            group_id = await door.group_id()
            # The fourth never says anything; the third did once, and will not again.
            for number, agent in enumerate((one, two, three), start=1):
                await told(agent, door, found(group_id, first, archive_whole=True), f"web-{number}")
            ordering = asyncio.create_task(order(coordinator, channel, location))
            for agent, whole in ((one, True), (two, False)):
                asked = (await agent.hear("check_installed")).check_installed
                group = found(group_id, first, archive_whole=whole)
                await agent.say(installed_state=pb.InstalledState(check_id=asked.check_id, groups=[group]))
            second = await ordering
            request = deployments_pb2.GetDeploymentRequest(deployment_id=second)
            answer = await deployments_stub(channel).GetDeployment(request, metadata=door.admin)
            (warning,) = answer.deployment.warnings
            assert warning == (
                "1 of 4 instances could not roll back from disk: web-2;"
                " the archive of what they run is gone or damaged there, so a rollback may have to fetch it"
            )
