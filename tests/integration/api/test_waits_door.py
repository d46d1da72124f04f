"""Ending the waits of deployments over the wire: which deployments have none, and who may ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import grpc
import pytest

from ferryman.v1 import deployments_pb2 as pb
from ferryman.v1 import deployments_pb2_grpc, inventory_pb2, types_pb2
from tests.support.coordinator import (
    Metadata,
    RunningCoordinator,
    deployments_stub,
    inventory_stub,
    refusal,
)
from tests.support.people import person

Ask = Callable[[str], Awaitable[object]]

REVISION = types_pb2.RevisionLocation(
    url=types_pb2.UrlLocation(
        url="https://example.org/web-1.zip", bundle_type=types_pb2.BUNDLE_TYPE_ZIP, sha256="ab" * 32
    )
)


@dataclass
class Site:
    """One group with an instance that never connects, and one without instances."""

    coordinator: RunningCoordinator
    deployments: deployments_pb2_grpc.DeploymentServiceAsyncStub

    async def deploy(self, group: str) -> str:
        options = pb.DeploymentOptions(
            application_name="shop", deployment_group_name=group, revision=REVISION
        )
        made = await self.deployments.CreateDeployment(
            pb.CreateDeploymentRequest(options=options), metadata=self.coordinator.admin
        )
        return made.deployment_id

    async def ended(self, deployment_id: str) -> None:
        watch = self.deployments.WatchDeployment(
            pb.WatchDeploymentRequest(deployment_id=deployment_id), metadata=self.coordinator.admin
        )
        assert [change async for change in watch]

    def ask(self, wait: int = 0, metadata: Metadata | None = None) -> Ask:
        return lambda deployment_id: self.deployments.ContinueDeployment(
            pb.ContinueDeploymentRequest(
                deployment_id=deployment_id, wait_type=pb.DeploymentWaitType.ValueType(wait)
            ),
            metadata=metadata or self.coordinator.admin,
        )

    def skip(self, metadata: Metadata | None = None) -> Ask:
        return lambda deployment_id: self.deployments.SkipWaitTimeForInstanceTermination(
            pb.SkipWaitTimeForInstanceTerminationRequest(deployment_id=deployment_id),
            metadata=metadata or self.coordinator.admin,
        )


@pytest.fixture
async def site(coordinator: RunningCoordinator) -> AsyncIterator[Site]:
    async with coordinator.channel() as channel:
        inventory = inventory_stub(channel)
        await inventory.CreateApplication(
            inventory_pb2.CreateApplicationRequest(name="shop"), metadata=coordinator.admin
        )
        for name in ("web", "idle"):
            role = inventory_pb2.TagFilter(key="role", value=name)
            await inventory.CreateDeploymentGroup(
                inventory_pb2.CreateDeploymentGroupRequest(
                    application_name="shop",
                    name=name,
                    selection=inventory_pb2.Selection(tag_filters=[role]),
                ),
                metadata=coordinator.admin,
            )
        await coordinator.enrol("web-1", role="web")
        yield Site(coordinator, deployments_stub(channel))


WAITS = (
    pb.DEPLOYMENT_WAIT_TYPE_UNSPECIFIED,
    pb.DEPLOYMENT_WAIT_TYPE_READY_WAIT,
    pb.DEPLOYMENT_WAIT_TYPE_TERMINATION_WAIT,
)


@pytest.mark.req("CP-452", "CP-453")
async def test_only_an_unfinished_blue_green_deployment_can_be_continued(site: Site) -> None:
    running, over = await site.deploy("web"), await site.deploy("idle")
    await site.ended(over)
    for ask in (*map(site.ask, WAITS), site.skip()):
        code, fault = await refusal(ask(running))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert fault.reason == "UnsupportedActionForDeploymentTypeException"
        assert "IN_PLACE" in fault.message
        code, fault = await refusal(ask(over))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert fault.reason == "DeploymentAlreadyCompletedException"
        code, fault = await refusal(ask("d-AAAAAAAAA"))
        assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "DeploymentDoesNotExistException")
        _, fault = await refusal(ask("web"))
        assert fault.reason == "InvalidDeploymentIdException"


@pytest.mark.req("CP-452")
async def test_a_wait_that_nobody_knows_is_refused(site: Site) -> None:
    code, fault = await refusal(site.ask(wait=7)(await site.deploy("web")))
    assert (code, fault.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "InvalidDeploymentWaitTypeException",
    )
    assert "READY_WAIT, TERMINATION_WAIT" in fault.message


@pytest.mark.req("CP-434", "CP-438")
async def test_who_may_deploy_may_not_therefore_continue(site: Site) -> None:
    running = await site.deploy("web")
    deployer = await person(site.coordinator, "ann", "deployer")
    for ask in (site.ask(metadata=deployer), site.skip(deployer)):
        code, fault = await refusal(ask(running))
        assert (code, fault.reason) == (grpc.StatusCode.PERMISSION_DENIED, "AccessDeniedException")
    operator = await person(site.coordinator, "bob", "operator", on=["deploymentgroup:shop/web"])
    for ask in (site.ask(metadata=operator), site.skip(operator)):
        _, fault = await refusal(ask(running))
        assert fault.reason == "UnsupportedActionForDeploymentTypeException"
