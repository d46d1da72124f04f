"""Autoscalers over the wire: notices, answers (by a real web server, too), hooks, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import yaml

from ferryman.v1 import inventory_pb2, scaling_pb2_grpc
from ferryman.v1 import scaling_pb2 as pb
from tests.support.coordinator import (
    RunningCoordinator,
    instances_stub,
    inventory_stub,
    refusal,
    running_coordinator,
)
from tests.support.webhook import WebhookServer

FLEET = "web-fleet"
NAMED = inventory_pb2.AutoScalingGroups(names=[FLEET])
PREFIX = "CodeDeploy-managed-automatic-launch-deployment-hook-prod-"


class Desk:
    def __init__(
        self, coordinator: RunningCoordinator, channel: grpc.aio.Channel, server: WebhookServer
    ) -> None:
        self.coordinator = coordinator
        self.server = server
        self.scaling: scaling_pb2_grpc.AutoScalingServiceAsyncStub
        self.scaling = scaling_pb2_grpc.AutoScalingServiceStub(channel)
        self.inventory = inventory_stub(channel)
        self.instances = instances_stub(channel)

    def __call__(self, method: Any, request: Any) -> Awaitable[Any]:
        answer: Awaitable[Any] = method(request, metadata=self.coordinator.admin)
        return answer

    async def group(self, name: str = "prod", **options: Any) -> Any:
        values = {"auto_scaling_groups": NAMED, **options}
        request = inventory_pb2.CreateDeploymentGroupRequest(
            application_name="web", name=name, options=inventory_pb2.GroupOptions(**values)
        )
        await self(self.inventory.CreateDeploymentGroup, request)
        return await self.shown(name)

    async def shown(self, name: str = "prod") -> Any:
        request = inventory_pb2.GetDeploymentGroupRequest(application_name="web", name=name)
        return (await self(self.inventory.GetDeploymentGroup, request)).deployment_group

    async def notify(
        self, instance: str, transition: Any = pb.LIFECYCLE_TRANSITION_LAUNCHING, **more: Any
    ) -> Any:
        request = pb.NotifyTransitionRequest(
            auto_scaling_group=FLEET, instance=instance, transition=transition, **more
        )
        return (await self(self.scaling.NotifyTransition, request)).action

    async def check(self, *hooks: str, compare: bool = False) -> Any:
        request = pb.CheckHooksRequest(auto_scaling_group=FLEET, hooks=hooks, compare=compare)
        return await self(self.scaling.CheckHooks, request)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    server = WebhookServer()
    await server.start()
    sinks = {"scaler": {"kind": "webhook", "url": server.url, "allow_http": True}}
    settings = {"sinks": yaml.safe_dump(sinks)}
    async with running_coordinator(tmp_path / "data", settings) as running, running.channel() as channel:
        made = Desk(running, channel, server)
        await made(made.inventory.CreateApplication, inventory_pb2.CreateApplicationRequest(name="web"))
        yield made
    await server.stop()


@pytest.mark.req("CP-396", "CP-178", "CP-406", "PF-102", "PF-103", "PF-104", "PF-105", "PF-125", "PF-126")
async def test_a_group_has_hooks_as_long_as_it_has_the_autoscaling_group(desk: Desk) -> None:
    (shown,) = (await desk.group()).auto_scaling_groups
    assert shown.name == FLEET
    assert shown.hook.startswith(PREFIX)
    assert shown.termination_hook == ""

    async def update(**options: Any) -> Any:
        request = inventory_pb2.UpdateDeploymentGroupRequest(
            application_name="web", name="prod", options=inventory_pb2.GroupOptions(**options)
        )
        await desk(desk.inventory.UpdateDeploymentGroup, request)
        return list((await desk.shown()).auto_scaling_groups)

    (kept,) = await update(auto_scaling_groups=NAMED, termination_hook=True)
    assert kept.hook == shown.hook
    assert "termination-deployment-hook-prod-" in kept.termination_hook
    assert await update(auto_scaling_groups=inventory_pb2.AutoScalingGroups()) == []
    (again,) = await update(auto_scaling_groups=NAMED)
    assert again.hook.startswith(PREFIX)
    assert again.hook != shown.hook


@pytest.mark.req("CP-405", "PF-127", "CP-178", "CP-404", "K11")
async def test_hooks_are_compared_with_those_of_the_autoscaler_and_installed_anew(desk: Desk) -> None:
    (shown,) = (await desk.group()).auto_scaling_groups
    checked = await desk.check(shown.hook, "of-somebody-else", compare=True)
    assert [(one.deployment_group_name, one.launch_hook) for one in checked.hooks] == [("prod", shown.hook)]
    assert not checked.differences
    assert not (await desk.check()).differences
    differing = await desk.check(f"{PREFIX}old", compare=True)
    assert [(one.hook, one.deployment_group, one.is_left_over) for one in differing.differences] == [
        (shown.hook, "web/prod", False),
        (f"{PREFIX}old", "", True),
    ]
    request = pb.ReinstallHooksRequest(application_name="web", deployment_group_name="prod")
    (made,) = (await desk(desk.scaling.ReinstallHooks, request)).hooks
    assert made.launch_hook != shown.hook
    assert (await desk.shown()).auto_scaling_groups[0].hook == made.launch_hook
    request.auto_scaling_group = "other"
    code, fault = await refusal(desk(desk.scaling.ReinstallHooks, request))
    assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "AutoScalingGroupNotAttachedException")
    code, fault = await refusal(desk(desk.scaling.CheckHooks, pb.CheckHooksRequest()))
    assert fault.reason == "InvalidAutoScalingGroupException"


@pytest.mark.req("CP-405", "CP-154", "K10", "K11")
async def test_hooks_of_a_deleted_application_are_called_left_over_and_no_longer_answered(desk: Desk) -> None:
    (shown,) = (await desk.group()).auto_scaling_groups
    request = inventory_pb2.DeleteApplicationRequest(name="web")
    await desk(desk.inventory.DeleteApplication, request)
    checked = await desk.check(shown.hook, compare=True)
    assert not checked.hooks
    assert [(one.hook, one.is_left_over) for one in checked.differences] == [(shown.hook, True)]
    code, fault = await refusal(desk.notify("i-1", hook=shown.hook))
    assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "LifecycleHookDoesNotExistException")
    assert "ferryman autoscaling check" in fault.message


@pytest.mark.req("CP-402", "PF-107")
async def test_who_shares_an_autoscaling_group_is_warned(desk: Desk) -> None:
    await desk.group()
    request = inventory_pb2.CreateDeploymentGroupRequest(
        application_name="web",
        name="second",
        options=inventory_pb2.GroupOptions(auto_scaling_groups=NAMED),
    )
    made = await desk(desk.inventory.CreateDeploymentGroup, request)
    assert any("2 deployment groups (web/prod, web/second)" in warning for warning in made.warnings)


@pytest.mark.req("CP-397", "CP-398", "PF-134", "PF-135")
async def test_an_instance_without_a_revision_goes_into_service_and_who_asked_is_called_back(
    desk: Desk,
) -> None:
    await desk.group()
    said = await desk.notify("i-0a1", token="tok", callback="scaler", zone="z-1")
    assert (said.token, said.instance_id) == ("tok", "i-0a1")
    request = pb.WatchLifecycleActionRequest(auto_scaling_group=FLEET, token="tok")
    last = None
    async for seen in desk.scaling.WatchLifecycleAction(request, metadata=desk.coordinator.admin):
        last = seen.action
    assert last is not None
    assert last.result == pb.LIFECYCLE_ACTION_RESULT_CONTINUE
    assert last.steps[0].status == "Skipped"
    (received,) = await desk.server.wait_for(1)
    assert received.json["LifecycleActionToken"] == "tok"
    assert received.json["LifecycleActionResult"] == "CONTINUE"
    listed = await desk(desk.scaling.ListLifecycleActions, pb.ListLifecycleActionsRequest())
    assert [one.token for one in listed.actions] == ["tok"]
    asked = pb.ListLifecycleActionsRequest(open_only=True)
    assert not (await desk(desk.scaling.ListLifecycleActions, asked)).actions
    found = await desk(desk.inventory.GetInstance, inventory_pb2.GetInstanceRequest(instance="i-0a1"))
    assert (found.instance.auto_scaling_group, found.instance.lifecycle_state) == (FLEET, "InService")
    assert found.instance.zone == "z-1"


@pytest.mark.req("CP-404", "CP-406", "PF-118", "PF-134")
async def test_the_other_states_of_an_instance_are_told_too(desk: Desk) -> None:
    await desk.group()
    request = pb.PutInServiceRequest(auto_scaling_group=FLEET, instance="i-0a2")
    placed = (await desk(desk.scaling.PutInService, request)).instance
    assert (placed.kind, placed.lifecycle_state) == (inventory_pb2.INSTANCE_KIND_CLOUD, "InService")
    ended = await desk.notify("i-0a2", pb.LIFECYCLE_TRANSITION_TERMINATING)
    assert (ended.result, len(ended.steps)) == (pb.LIFECYCLE_ACTION_RESULT_CONTINUE, 0)
    await desk(
        desk.scaling.PutTerminated, pb.PutTerminatedRequest(auto_scaling_group=FLEET, instance="i-0a2")
    )
    found = await desk(desk.inventory.GetInstance, inventory_pb2.GetInstanceRequest(instance="i-0a2"))
    assert found.instance.HasField("deregistered_at")
    assert found.instance.lifecycle_state == "Terminated"


@pytest.mark.req("CP-403")
async def test_launches_can_be_let_pass(desk: Desk) -> None:
    await desk.group()
    request = pb.LetLaunchesPassRequest(application_name="web", deployment_group_name="prod", passes=True)
    (hook,) = (await desk(desk.scaling.LetLaunchesPass, request)).hooks
    assert hook.passes
    assert (await desk.check()).hooks[0].passes
    request.passes = False
    (hook,) = (await desk(desk.scaling.LetLaunchesPass, request)).hooks
    assert not hook.passes


@pytest.mark.req("CP-397")
async def test_what_is_wrong_with_a_notice_is_said(desk: Desk) -> None:
    await desk.group()

    async def reason(**fields: Any) -> tuple[grpc.StatusCode, str]:
        values = {
            "auto_scaling_group": FLEET,
            "instance": "i-1",
            "transition": pb.LIFECYCLE_TRANSITION_LAUNCHING,
            **fields,
        }
        code, fault = await refusal(desk(desk.scaling.NotifyTransition, pb.NotifyTransitionRequest(**values)))
        return code, fault.reason

    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    assert await reason(transition=0) == (invalid, "InvalidLifecycleTransitionException")
    assert await reason(auto_scaling_group="") == (invalid, "InvalidAutoScalingGroupException")
    assert await reason(auto_scaling_group="a\nb") == (invalid, "InvalidAutoScalingGroupException")
    assert await reason(instance="") == (invalid, "InvalidInstanceIdException")
    assert await reason(instance="nobody") == (missing, "InstanceNotRegisteredException")
    assert await reason(token="t" * 129) == (invalid, "InvalidLifecycleTokenException")
    assert await reason(callback="nobody") == (invalid, "UnknownCallbackException")
    assert await reason(hook="nobodys") == (missing, "LifecycleHookDoesNotExistException")
    code, fault = await refusal(
        desk(
            desk.scaling.GetLifecycleAction,
            pb.GetLifecycleActionRequest(auto_scaling_group=FLEET, token="no"),
        )
    )
    assert (code, fault.reason) == (missing, "LifecycleActionDoesNotExistException")


async def test_metrics_count_who_waits_and_loops(desk: Desk) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{desk.coordinator.ready.http_url}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    assert "ferryman_lifecycle_actions_open 0.0" in lines
    assert "ferryman_launch_loops_total 0.0" in lines
