"""What is done for one instance that an autoscaler launches or ends, until it gets its answer (CP section 21). Pure.

An action has one step for each deployment group that is concerned, done one after another (CP-402). A launch that fails
in one of them is abandoned; an instance that ends does so whatever comes of its steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ferryman_coordinator.core.model import DeploymentId, GroupId, InstanceId, Instant

ENDED_BY_GROUP = "was terminated by its group"
"""Completes "instance web-1 …" (PF-122)."""

MOST_ROUNDS = 3
"""How often a launched instance is brought to a revision that became the group's newest while it was deployed to."""


class Transition(StrEnum):
    """What happens to the instance, as autoscalers spell it."""

    LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
    TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


class ActionResult(StrEnum):
    """What the autoscaler is told (CP-400, CP-407)."""

    CONTINUE = "CONTINUE"
    ABANDON = "ABANDON"


class StepStatus(StrEnum):
    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"

    @property
    def is_final(self) -> bool:
        return self in (StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStep:
    """What one deployment group does about it. `message` says why it failed or was skipped."""

    group_id: GroupId
    application_name: str
    group_name: str
    hook: str
    status: StepStatus = StepStatus.WAITING
    deployment_id: DeploymentId | None = None
    message: str = ""
    # Of what its deployment brings, or brought.
    revision_key: str = ""
    # Deployments so far: more than one when the group's revision changed meanwhile.
    rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleAction:
    """One instance that waits for us. `auto_scaling_group` and `token` tell it from all others."""

    auto_scaling_group: str
    token: str
    instance_id: InstanceId
    transition: Transition
    created_at: Instant
    # Sink of the settings that is told of heartbeats and of the answer; empty: whoever waits asks.
    callback: str = ""
    steps: tuple[ActionStep, ...] = ()
    heartbeats: int = 0
    # When the next one is due (CP-399, CP-408); absolute, so a restart skips none.
    heartbeat_at: Instant
    result: ActionResult | None = None
    answered_at: Instant | None = None
    messages: tuple[str, ...] = ()

    @property
    def is_launch(self) -> bool:
        return self.transition is Transition.LAUNCHING

    @property
    def key(self) -> tuple[str, str]:
        return self.auto_scaling_group, self.token


def current(action: LifecycleAction) -> int | None:
    """The step that is to be done now; None once all are."""
    for number, step in enumerate(action.steps):
        if not step.status.is_final:
            return number
    return None


def begun(
    action: LifecycleAction, number: int, deployment_id: DeploymentId, revision_key: str
) -> LifecycleAction:
    """The step's deployment is there."""
    step = replace(
        action.steps[number],
        status=StepStatus.RUNNING,
        deployment_id=deployment_id,
        revision_key=revision_key,
        rounds=action.steps[number].rounds + 1,
        message="",
    )
    return _with_step(action, number, step)


def skipped(action: LifecycleAction, number: int, why: str) -> LifecycleAction:
    """There is nothing to deploy for this group; `why` is for people."""
    return _with_step(action, number, replace(action.steps[number], status=StepStatus.SKIPPED, message=why))


def ended(action: LifecycleAction, number: int, *, succeeded: bool, why: str = "") -> LifecycleAction:
    """The step's deployment is over, or there will be none. One failure is enough to abandon a launch."""
    status = StepStatus.SUCCEEDED if succeeded else StepStatus.FAILED
    action = _with_step(action, number, replace(action.steps[number], status=status, message=why))
    if succeeded or not action.is_launch:
        return action
    rest = "the launch was abandoned before"
    steps = tuple(
        one if one.status.is_final else replace(one, status=StepStatus.SKIPPED, message=rest)
        for one in action.steps
    )
    return replace(action, steps=steps)


def behind(action: LifecycleAction, newest: Mapping[GroupId, str]) -> LifecycleAction:
    """The same, with those steps to be done again whose groups have deployed another revision successfully meanwhile.

    Nobody else would bring it to the instance: it was no member while that deployment ran. `newest` are the keys of the
    groups' revisions.
    """
    if not action.is_launch:
        return action
    steps = tuple(
        replace(step, status=StepStatus.WAITING)
        if step.status is StepStatus.SUCCEEDED
        and step.rounds < MOST_ROUNDS
        and newest.get(step.group_id, step.revision_key) != step.revision_key
        else step
        for step in action.steps
    )
    return replace(action, steps=steps)


def given_up(action: LifecycleAction, why: str) -> LifecycleAction:
    """The instance is gone, or goes: nothing more is done for its launch."""
    number = current(action)
    return action if number is None else ended(action, number, succeeded=False, why=why)


def verdict(action: LifecycleAction) -> ActionResult | None:
    """The answer, once all steps are done (CP-400, CP-407)."""
    if current(action) is not None:
        return None
    if action.is_launch and any(step.status is StepStatus.FAILED for step in action.steps):
        return ActionResult.ABANDON
    return ActionResult.CONTINUE


def answered(action: LifecycleAction, result: ActionResult, now: Instant) -> LifecycleAction:
    return replace(action, result=result, answered_at=now)


def heartbeat(action: LifecycleAction, now: Instant, interval_ms: int) -> LifecycleAction:
    """One more, and when the next one is due: what was missed while the coordinator was away is not made up for."""
    return replace(action, heartbeats=action.heartbeats + 1, heartbeat_at=Instant(now + interval_ms))


def shared_warning(auto_scaling_group: str, groups: Sequence[str]) -> str:
    """CP-402."""
    return (
        f"autoscaling group {auto_scaling_group!r} belongs to {len(groups)} deployment groups ({', '.join(groups)}):"
        " an instance that it launches is deployed to by one after another, and one that fails abandons it for all"
    )


def _with_step(action: LifecycleAction, number: int, step: ActionStep) -> LifecycleAction:
    steps = action.steps
    return replace(action, steps=(*steps[:number], step, *steps[number + 1 :]))
