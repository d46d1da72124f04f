"""Machines that cannot prove who they are: their targets fail by the start timer, and nothing hangs (CP-078).

The real enrolment decides who may connect, on the store and clock of the engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core.inventory import Deployment
from ferryman_coordinator.core.model import (
    BundleType,
    DeploymentStatus,
    GitHubLocation,
    RevisionLocation,
    S3Location,
    TargetStatus,
)
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.engine.settings import EngineSettings
from ferryman_coordinator.errors import NotFound, Unauthenticated
from ferryman_coordinator.links.orders import SegmentOrder
from ferryman_coordinator.operations.enrolment import SESSION_MS
from ferryman_coordinator.operations.newcomers import EnrolOrder
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.cursors import PageRequest
from tests.support.desk import Desk
from tests.support.engine_world import World, open_world
from tests.support.fake_agent import FakeAgent, Gate

SESSION = "arn:aws:sts::123456789012:assumed-role/CodeDeploy/web-1"
STAGE = Tag("stage", "production")


class Gatehouse:
    """Lets the agents of a world in by their certificates only."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.desk = Desk(world.store, world.clock)

    async def register(self, name: str, **identity: object) -> None:
        await self.desk.registration.register(name, **identity)  # type: ignore[arg-type]
        await self.desk.instances.tag(name, add=[STAGE])

    async def enrol(self, name: str, **token: object) -> tuple[str, str]:
        """The id of the instance, and the serial of its certificate."""
        text, _ = await self.desk.tokens.create(instance_name=name, **token)  # type: ignore[arg-type]
        enrolled = await self.desk.enrolment.enrol(EnrolOrder(join_token=text), self.desk.certify)
        self.world.agents.setdefault(enrolled.instance_id, FakeAgent(enrolled.instance_id))
        return enrolled.instance_id, f"{self.desk.serials:x}"

    async def connect(self, serial: str) -> str:
        """Connects the agent, or says why it is not let in."""
        try:
            instance_id = await self.desk.enrolment.identify(serial)
        except Unauthenticated as refused:
            return refused.reason
        self.world.connect(instance_id)
        return "connected"

    async def start_timer_ends(self) -> None:
        await self.world.sleepers()
        self.world.clock.advance(self.world.settings.timers.event_start_ms)


@asynccontextmanager
async def gatehouse(tmp_path: Path) -> AsyncIterator[Gatehouse]:
    async with open_world(tmp_path, 0, settings=EngineSettings(prefetch_concurrency=0)) as world:
        yield Gatehouse(world)


def issue(deployment: Deployment) -> tuple[DeploymentStatus, str]:
    assert deployment.record.error is not None
    return deployment.record.status, deployment.record.error.code


@pytest.mark.req("CP-065", "CP-078", "K17")
async def test_a_machine_that_never_came_fails_by_its_start_timer(tmp_path: Path) -> None:
    async with gatehouse(tmp_path) as gate:
        await gate.register("web-1", by_certificate=True)
        deployment_id = await gate.world.deploy()
        await gate.start_timer_ends()
        ended = await gate.world.finished(deployment_id)
        assert issue(ended) == (DeploymentStatus.FAILED, "AGENT_ISSUE")
        assert ended.overview == {TargetStatus.FAILED: 1}


@pytest.mark.req("CP-076", "CP-077", "CP-078", "K16")
async def test_an_expired_session_fails_the_deployment_and_a_renewed_one_needs_no_restart(
    tmp_path: Path,
) -> None:
    async with gatehouse(tmp_path) as gate:
        gate.desk.lifetime_ms = 7 * 86_400_000
        await gate.register("web-1", iam_session_arn=SESSION)
        instance_id, first = await gate.enrol("web-1")
        assert await gate.connect(first) == "connected"
        assert (await gate.world.finished(await gate.world.deploy())).overview == {TargetStatus.SUCCEEDED: 1}
        gate.world.clock.advance(SESSION_MS // 2)
        renewed = await gate.desk.enrolment.renew(
            gate.world.agents[instance_id].instance_id, gate.desk.certify
        )
        gate.world.disconnect(instance_id)
        gate.world.clock.advance(SESSION_MS // 2)
        assert await gate.connect(first) == "CertificateExpired"
        # The same agent goes on with the one that it fetched meanwhile.
        assert await gate.connect(renewed.serial) == "connected"
        assert (await gate.world.finished(await gate.world.deploy())).overview == {TargetStatus.SUCCEEDED: 1}
        gate.world.disconnect(instance_id)
        gate.world.clock.advance(SESSION_MS)
        assert await gate.connect(renewed.serial) == "CertificateExpired"
        deployment_id = await gate.world.deploy()
        await gate.start_timer_ends()
        assert issue(await gate.world.finished(deployment_id)) == (DeploymentStatus.FAILED, "AGENT_ISSUE")


@pytest.mark.req("CP-078")
async def test_a_certificate_that_was_replaced_or_is_nobody_s_does_not_hold_up_a_deployment(
    tmp_path: Path,
) -> None:
    async with gatehouse(tmp_path) as gate:
        await gate.register("web-1", by_certificate=True)
        _, first = await gate.enrol("web-1")
        await gate.enrol("web-1", replaces_identity=True)
        assert await gate.connect(first) == "CertificateRevoked"
        assert await gate.connect("dead") == "CertificateUnknown"
        deployment_id = await gate.world.deploy()
        await gate.start_timer_ends()
        ended = await gate.world.finished(deployment_id)
        assert issue(ended) == (DeploymentStatus.FAILED, "AGENT_ISSUE")


@pytest.mark.req("CP-091", "CP-095")
async def test_a_deregistered_target_goes_on_and_loses_its_credentials_at_its_end(tmp_path: Path) -> None:
    async with gatehouse(tmp_path) as gate:
        await gate.register("web-1", by_certificate=True)
        instance_id, serial = await gate.enrol("web-1")
        assert await gate.connect(serial) == "connected"
        gate.world.play(script := Gate("Install"), instance_id)
        deployment_id = await gate.world.deploy()
        await gate.world.busy(deployment_id, "Install")
        await gate.desk.instances.deregister("web-1")
        gate.world.disconnect(instance_id)
        assert await gate.connect(serial) == "connected"
        script.open()
        assert (await gate.world.finished(deployment_id)).overview == {TargetStatus.SUCCEEDED: 1}
        gate.world.disconnect(instance_id)
        assert await gate.connect(serial) == "InstanceDeregistered"


@pytest.mark.req("CP-056", "T26")
async def test_who_was_deregistered_is_no_target_whatever_its_tags(tmp_path: Path) -> None:
    async with gatehouse(tmp_path) as gate:
        for name in ("h1", "h2"):
            await gate.register(name, by_certificate=True)
            _, serial = await gate.enrol(name)
            assert await gate.connect(serial) == "connected"
        await gate.desk.instances.deregister("h1")
        assert (await gate.desk.instances.get("h1")).instance.tags == (STAGE,)
        ended = await gate.world.finished(await gate.world.deploy())
        assert ended.overview == {TargetStatus.SUCCEEDED: 1}
        assert [
            one.record.instance_name for one in (await gate.world.targets(ended.deployment_id)).values()
        ] == ["h2"]


@pytest.mark.req("CP-114")
async def test_an_instance_tells_what_was_deployed_to_it(tmp_path: Path) -> None:
    async with gatehouse(tmp_path) as gate:
        await gate.register("web-1", by_certificate=True)
        _, serial = await gate.enrol("web-1")
        await gate.connect(serial)
        made = []
        for _ in range(5):
            made.append(await gate.world.deploy())
            await gate.world.finished(made[-1])
            gate.world.clock.advance(1000)
        first = await gate.desk.instances.deployments("web-1", PageRequest(size=3))
        second = await gate.desk.instances.deployments("web-1", PageRequest(size=3, token=first.next_token))
        found = [*first.items, *second.items]
        assert [one.deployment_id for one in found] == made[::-1]
        newest = found[0]
        assert (newest.application_name, newest.group_name, newest.creator) == ("web", "production", "user")
        assert (newest.status, newest.deployment_status) == (
            TargetStatus.SUCCEEDED,
            DeploymentStatus.SUCCEEDED,
        )
        assert newest.started_at is not None
        assert newest.ended_at is not None
        await gate.register("idle", by_certificate=True)
        assert (await gate.desk.instances.deployments("idle", PageRequest())).items == ()
        with pytest.raises(NotFound):
            await gate.desk.instances.deployments("ghost", PageRequest())


@pytest.mark.req("CP-065", "CP-067")
@pytest.mark.parametrize(
    "revision",
    [
        S3Location(bucket="b", object_key="web.zip", bundle_type=BundleType.ZIP, version="1"),
        GitHubLocation(repository="acme/web", commit_id="a" * 40),
    ],
    ids=["object store", "GitHub"],
)
async def test_both_kinds_of_instances_deploy_from_everywhere_and_are_told_of(
    tmp_path: Path, revision: RevisionLocation
) -> None:
    async with gatehouse(tmp_path) as gate:
        await gate.register("web-1", by_certificate=True)
        here, serial = await gate.enrol("web-1")
        assert await gate.connect(serial) == "connected"
        text, _ = await gate.desk.tokens.create(tags=[STAGE])
        order = EnrolOrder(join_token=text, provider_instance_id="i-0abc")
        cloud = (await gate.desk.enrolment.enrol(order, gate.desk.certify)).instance_id
        gate.world.agents[cloud] = FakeAgent(cloud)
        gate.world.connect(cloud)
        ended = await gate.world.finished(await gate.world.deploy(revision=revision))
        assert ended.overview == {TargetStatus.SUCCEEDED: 2}
        for instance_id in (here, cloud):
            (command,) = [
                order for order in gate.world.agents[instance_id].orders if isinstance(order, SegmentOrder)
            ]
            assert command.deployment.revision == revision
        async with gate.world.store.reading() as connection:
            rows = (
                await connection.execute(sa.select(tables.events.c.instance_id, tables.events.c.state))
            ).all()
        told = {(row.instance_id, row.state) for row in rows if row.instance_id}
        assert told == {(one, state) for one in (here, cloud) for state in ("START", "SUCCESS")}


@pytest.mark.req("CP-078")
@pytest.mark.parametrize("stays", [True, False], ids=["the clone stays", "the clone goes"])
async def test_of_two_that_share_an_identity_the_one_that_is_connected_counts(
    tmp_path: Path, stays: bool
) -> None:
    async with gatehouse(tmp_path) as gate:
        await gate.register("web-1", by_certificate=True)
        instance_id, serial = await gate.enrol("web-1")
        assert await gate.connect(serial) == "connected"
        gate.world.play(Gate("Install"), instance_id)
        deployment_id = await gate.world.deploy()
        await gate.world.busy(deployment_id, "Install")
        clone = gate.world.agents["clone"] = FakeAgent(gate.world.agents[instance_id].instance_id)
        if stays:
            gate.world.connect("clone")
            ended = await gate.world.finished(deployment_id)
            assert ended.overview == {TargetStatus.SUCCEEDED: 1}
            assert len(clone.ran) == 7
            return
        gate.world.play(Gate(), "clone")
        gate.world.connect("clone")
        await clone.stands_at("ApplicationStop")
        gate.world.disconnect("clone")
        await gate.world.noted_silent(deployment_id, instance_id)
        await gate.start_timer_ends()
        assert issue(await gate.world.finished(deployment_id)) == (DeploymentStatus.FAILED, "AGENT_ISSUE")
