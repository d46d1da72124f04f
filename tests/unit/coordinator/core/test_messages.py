"""What people are told when a deployment has failed (CP-239, CP-286, CP-393, CP-394)."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.model import (
    DeploymentStatus,
    Diagnostics,
    EventStatus,
    LifecycleErrorCode,
    TargetStatus,
)
from tests.support.rollouts import Drive, count, fleet, fleet_spec


@pytest.mark.req("CP-239", "CP-286", "CP-394", "K1")
def test_everything_that_is_needed_to_go_on() -> None:
    drive = Drive(fleet_spec(count(8)), fleet(10))
    first, second = drive.started
    drive.fail(first, at="ApplicationStart")
    drive.fail(second, at="Install")

    assert drive.code == "HEALTH_CONSTRAINTS"
    assert drive.message == (
        "Too many instances failed: with 8 left to deploy to, one more failure could leave fewer than 8 healthy"
        " (counted N=10, minimum M=8, failed F=2, avail=8)."
        f" First failure: web-{first[3:]} ({first}) at ApplicationStart in script scripts/start.sh,"
        " ScriptFailed: exit status 1."
        f" Failed at ApplicationStart with ScriptFailed: {first}."
        f" Failed at Install with ScriptFailed: {second}."
        " Next: read `ferryman deployment logs d-TESTFLEET`,"
        " put right what failed in the revision or on the instances, then deploy again."
    )


@pytest.mark.req("CP-235", "CP-234", "CP-286", "A20")
def test_failures_of_the_drain_are_told_too() -> None:
    """Targets in progress finish their whole sequence after the deployment was given up."""
    drive = Drive(fleet_spec(count(2)), fleet(5))
    slow, second, third = drive.started
    drive.begin(slow, "ApplicationStop")
    (gone, rest) = drive.with_status(TargetStatus.PENDING)
    drive.gone(gone, "was terminated")
    drive.after(1)
    drive.fail(second)
    drive.fail(third)
    assert drive.status is DeploymentStatus.IN_PROGRESS
    assert not drive.cancels
    assert drive.target(rest).status is TargetStatus.SKIPPED
    drive.fail(slow, at="ValidateService")

    assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")
    assert f"First failure: web-{gone[3:]} ({gone}) at ApplicationStop, UnknownError" in drive.message
    assert f"Failed at ValidateService with ScriptFailed: {slow}" in drive.message
    assert "failed F=3" in drive.message


@pytest.mark.req("CP-235")
def test_target_may_succeed_after_the_deployment_was_given_up() -> None:
    drive = Drive(fleet_spec(count(2)), fleet(5))
    slow, second, third = drive.started
    drive.gone(drive.with_status(TargetStatus.PENDING)[0])
    drive.fail(second)
    drive.fail(third)
    drive.succeed(slow)

    assert drive.status is DeploymentStatus.FAILED
    assert drive.target(slow).status is TargetStatus.SUCCEEDED


@pytest.mark.req("CP-393", "T52", "CP-078", "K2")
def test_all_agents_down() -> None:
    drive = Drive(fleet_spec(count(1)), fleet(4))
    drive.pass_time(3600)

    assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "AGENT_ISSUE")
    assert "check that ferryman-agent runs" in drive.message
    assert all(one in drive.message for one in drive.started)


@pytest.mark.req("CP-393")
def test_one_real_failure_is_not_the_agents_fault() -> None:
    drive = Drive(fleet_spec(count(1)), fleet(4))
    silent = drive.started[1:]
    drive.fail(drive.started[0])
    drive.pass_time(3600)

    assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")
    assert silent[0] in drive.message


@pytest.mark.req("CP-393")
def test_terminated_instance_is_not_a_silent_agent() -> None:
    drive = Drive(fleet_spec(count(0)), fleet(1))
    drive.gone(drive.started[0])

    assert drive.code == "HEALTH_CONSTRAINTS"


@pytest.mark.req("CP-240")
def test_success_with_failures_says_so() -> None:
    drive = Drive(fleet_spec(count(0)), fleet(2))
    failed, other = drive.started
    drive.fail(failed)
    drive.succeed(other)

    (message,) = drive.rollout.record.messages
    assert message.startswith("Succeeded although 1 instance failed. First failure: ")
    assert failed in message


def test_long_lists_and_texts_are_bounded() -> None:
    drive = Drive(fleet_spec(count(0)), fleet(150))
    diagnostics = Diagnostics(
        error_code=LifecycleErrorCode.SCRIPT_FAILED, message="line one\nline two " + "x" * 9_000
    )
    for one in list(drive.started):
        drive.finish(one, "ApplicationStop", EventStatus.FAILED, diagnostics)

    assert drive.status is DeploymentStatus.FAILED
    assert "line one line two xxx" in drive.message
    assert "Failed besides: 50 instances." in drive.message
    assert len(drive.message) < 2_500


@pytest.mark.req("CP-284")
def test_too_few_healthy_at_the_end() -> None:
    """Instances that went away before their turn can leave too few even though the last target succeeded."""
    drive = Drive(fleet_spec(count(2)), fleet(5))
    first, second, third = drive.started
    for one in drive.with_status(TargetStatus.PENDING):
        drive.gone(one)
    drive.fail(first)
    drive.fail(second)
    drive.succeed(third)

    assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")
    assert (
        "Too few instances are healthy at the end (counted N=5, minimum M=2, failed F=4, avail=1)"
        in drive.message
    )


@pytest.mark.parametrize("restarts", [False, True])
def test_ignored_failure_is_not_what_ended_a_stopped_target(restarts: bool) -> None:
    drive = Drive(fleet_spec(count(0), ignore_application_stop_failures=True), fleet(1))
    one = drive.started[0]
    drive.finish(one, "ApplicationStop", EventStatus.FAILED)
    if restarts:
        drive.rollout = drive.kept.restore(drive.spec)
    drive.stop()
    drive.segment(one, EventStatus.SKIPPED)

    assert drive.status is DeploymentStatus.STOPPED
    assert "First failure" not in drive.message
    assert f"Ended before their last event: {one}." in drive.message


@pytest.mark.req("CP-239")
def test_no_error_without_a_failure() -> None:
    drive = Drive(fleet_spec(count(0)), fleet(1))
    assert drive.rollout.record.error is None
    drive.succeed(drive.started[0])

    assert drive.rollout.record.error is None
    assert drive.rollout.record.messages == ()
