"""What is done for an autoscaler's instances, and hooks, between the core and the wire."""

from __future__ import annotations

from collections.abc import Iterator

from ferryman.v1 import scaling_pb2 as pb
from ferryman_coordinator.core.inventory import DeploymentGroup
from ferryman_coordinator.core.scaling import ActionResult, LifecycleAction, Transition
from ferryman_coordinator.core.scaling_hooks import HookDifference, ScalingHook
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations.lifecycle import LifecycleNotice

_TRANSITIONS = {
    Transition.LAUNCHING: pb.LIFECYCLE_TRANSITION_LAUNCHING,
    Transition.TERMINATING: pb.LIFECYCLE_TRANSITION_TERMINATING,
}
_OF_WIRE = {number: transition for transition, number in _TRANSITIONS.items()}
_RESULTS = {
    None: pb.LIFECYCLE_ACTION_RESULT_UNSPECIFIED,
    ActionResult.CONTINUE: pb.LIFECYCLE_ACTION_RESULT_CONTINUE,
    ActionResult.ABANDON: pb.LIFECYCLE_ACTION_RESULT_ABANDON,
}


def notice_from(request: pb.NotifyTransitionRequest) -> LifecycleNotice:
    """Raises Invalid (InvalidLifecycleTransitionException)."""
    transition = _OF_WIRE.get(request.transition)
    if transition is None:
        raise Invalid(
            "InvalidLifecycleTransitionException", "the transition is missing: say LAUNCHING or TERMINATING"
        )
    return LifecycleNotice(
        auto_scaling_group=request.auto_scaling_group,
        instance=request.instance,
        transition=transition,
        token=request.token,
        hook=request.hook,
        callback=request.callback,
        zone=request.zone,
    )


def action_to(action: LifecycleAction) -> pb.LifecycleAction:
    return pb.LifecycleAction(
        auto_scaling_group=action.auto_scaling_group,
        token=action.token,
        instance_id=action.instance_id,
        transition=_TRANSITIONS[action.transition],
        created_at=action.created_at,
        steps=[
            pb.LifecycleStep(
                application_name=step.application_name,
                deployment_group_name=step.group_name,
                hook=step.hook,
                status=step.status.value,
                deployment_id=step.deployment_id or "",
                message=step.message,
            )
            for step in action.steps
        ],
        heartbeats=action.heartbeats,
        result=_RESULTS[action.result],
        answered_at=action.answered_at,
        messages=action.messages,
        callback=action.callback,
    )


def hook_to(group: DeploymentGroup, hook: ScalingHook) -> pb.ScalingHook:
    return pb.ScalingHook(
        auto_scaling_group=hook.auto_scaling_group,
        application_name=group.application_name,
        deployment_group_name=group.name,
        launch_hook=hook.launch,
        termination_hook=hook.termination,
        abandons=hook.abandons,
        is_looping=hook.is_looping,
        passes=hook.passes,
        installed_at=hook.installed_at,
    )


def hooks_to(group: DeploymentGroup) -> Iterator[pb.ScalingHook]:
    """All of a group's."""
    return (hook_to(group, hook) for hook in group.hooks)


def difference_to(difference: HookDifference) -> pb.HookDifference:
    return pb.HookDifference(
        hook=difference.hook, deployment_group=difference.group, is_left_over=difference.is_left_over
    )
