"""Actions of autoscalers, and hooks, as values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferryman_coordinator.core import scaling, scaling_hooks
from ferryman_coordinator.core.model import DeploymentId, GroupId, InstanceId, Instant
from ferryman_coordinator.core.scaling import (
    MOST_ROUNDS,
    ActionResult,
    ActionStep,
    LifecycleAction,
    StepStatus,
    Transition,
)
from ferryman_coordinator.core.scaling_hooks import HookDifference, ScalingHook

NOW = Instant(1_000)


def action(*groups: str, transition: Transition = Transition.LAUNCHING) -> LifecycleAction:
    return LifecycleAction(
        auto_scaling_group="fleet",
        token="t",
        instance_id=InstanceId("i-1"),
        transition=transition,
        created_at=NOW,
        heartbeat_at=Instant(NOW + 300_000),
        steps=tuple(
            ActionStep(group_id=GroupId(name), application_name="web", group_name=name, hook=f"h-{name}")
            for name in groups
        ),
    )


def done(made: LifecycleAction, number: int, *, succeeded: bool = True) -> LifecycleAction:
    made = scaling.begun(made, number, DeploymentId(f"d-{number}"), "r1")
    return scaling.ended(made, number, succeeded=succeeded, why="" if succeeded else "broken")


@pytest.mark.req("CP-400", "CP-402")
def test_a_launch_continues_when_all_its_groups_have_deployed() -> None:
    made = action("a", "b")
    assert scaling.current(made) == 0
    made = done(made, 0)
    assert (scaling.current(made), scaling.verdict(made)) == (1, None)
    made = scaling.skipped(made, 1, "nothing to bring")
    assert scaling.verdict(made) is ActionResult.CONTINUE


@pytest.mark.req("CP-400", "CP-402")
def test_a_launch_is_abandoned_with_its_first_failure() -> None:
    made = done(action("a", "b"), 0, succeeded=False)
    assert [step.status for step in made.steps] == [StepStatus.FAILED, StepStatus.SKIPPED]
    assert made.steps[0].message == "broken"
    assert scaling.verdict(made) is ActionResult.ABANDON


@pytest.mark.req("CP-407")
def test_an_end_goes_on_whatever_fails() -> None:
    made = done(action("a", "b", transition=Transition.TERMINATING), 0, succeeded=False)
    assert scaling.current(made) == 1
    made = done(made, 1, succeeded=False)
    assert scaling.verdict(made) is ActionResult.CONTINUE


@pytest.mark.req("CP-409")
def test_a_launch_that_is_given_up_has_failed_and_one_that_is_done_has_not() -> None:
    assert scaling.verdict(scaling.given_up(action("a", "b"), "gone")) is ActionResult.ABANDON
    finished = done(action("a"), 0)
    assert scaling.given_up(finished, "gone") == finished


@pytest.mark.req("CP-410")
def test_a_group_that_moved_on_deploys_again_at_most_so_often() -> None:
    made = done(action("a", "b"), 0)
    made = done(made, 1)
    assert scaling.behind(made, {GroupId("a"): "r1", GroupId("b"): "r1"}) == made
    assert scaling.behind(made, {}) == made
    for round_ in range(MOST_ROUNDS - 1):
        again = scaling.behind(made, {GroupId("a"): "r1", GroupId("b"): f"n{round_}"})
        assert scaling.current(again) == 1
        made = done(again, 1)
    assert scaling.behind(made, {GroupId("b"): "newer"}) == made
    ending = done(action("a", transition=Transition.TERMINATING), 0)
    assert scaling.behind(ending, {GroupId("a"): "r2"}) == ending


@pytest.mark.req("CP-399", "CP-408")
def test_heartbeats_that_were_missed_are_not_made_up_for() -> None:
    late = Instant(NOW + 3_600_000)
    beaten = scaling.heartbeat(action("a"), late, 300_000)
    assert (beaten.heartbeats, beaten.heartbeat_at) == (1, late + 300_000)


# Hooks ----------------------------------------------------------------------------------------------------------------


def install(
    before: tuple[ScalingHook, ...], *names: str, with_termination: bool = False, suffix: str = "u1"
) -> tuple[ScalingHook, ...]:
    return scaling_hooks.installed(
        before, "prod", names, with_termination=with_termination, now=NOW, draw=lambda: suffix
    )


@pytest.mark.req("CP-396", "CP-406", "PF-102", "PF-103", "PF-104")
def test_hooks_follow_the_autoscaling_groups_of_their_group() -> None:
    (hook,) = install((), "fleet")
    assert hook.launch == "CodeDeploy-managed-automatic-launch-deployment-hook-prod-u1"
    assert (hook.termination, hook.names) == ("", (hook.launch,))
    both = install((hook,), "fleet", "other", with_termination=True, suffix="u2")
    assert [one.auto_scaling_group for one in both] == ["fleet", "other"]
    assert both[0].launch == hook.launch
    assert both[0].termination == "CodeDeploy-managed-automatic-termination-deployment-hook-prod-u2"
    assert install(both, "other")[0].termination == ""
    assert install(both) == ()


@pytest.mark.req("CP-178")
def test_what_was_taken_away_comes_back_under_another_name() -> None:
    first = install((), "fleet")
    (again,) = install(install(first), "fleet", suffix="u2")
    assert again.launch != first[0].launch


@pytest.mark.req("CP-403")
def test_only_an_unbroken_row_of_failures_is_a_loop() -> None:
    (hook,) = install((), "fleet")
    for count in range(1, 3):
        hook = scaling_hooks.after_launch(hook, succeeded=False)
        assert (hook.abandons, hook.is_looping) == (count, False)
    assert scaling_hooks.after_launch(hook, succeeded=True).abandons == 0
    assert scaling_hooks.after_launch(hook, succeeded=False).is_looping


@pytest.mark.req("CP-405", "PF-108", "PF-127")
def test_both_kinds_of_difference_are_found_and_hooks_of_others_are_left_alone() -> None:
    (hook,) = install((), "fleet", with_termination=True)
    ours = [("web/prod", hook)]
    assert list(scaling_hooks.differences(ours, hook.names)) == []
    old = replace(hook, launch=f"{hook.launch}-old").launch
    assert list(scaling_hooks.differences(ours, [hook.launch, "mine", old])) == [
        HookDifference(hook=hook.termination, group="web/prod"),
        HookDifference(hook=old, is_left_over=True),
    ]
