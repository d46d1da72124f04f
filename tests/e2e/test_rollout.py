"""Deployments over ten real agents: how many at once, failures, stop, rollback."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ferryman.v1 import deployments_pb2, inventory_pb2, types_pb2
from ferryman_client.errors import ConflictError
from tests.support.fleet import HOOK_EVENTS, SEGMENT, Fleet

pytestmark = pytest.mark.timeout(180)

SUCCEEDED = types_pb2.DEPLOYMENT_STATUS_SUCCEEDED
FAILED = types_pb2.DEPLOYMENT_STATUS_FAILED
STOPPED = types_pb2.DEPLOYMENT_STATUS_STOPPED
DONE = types_pb2.LIFECYCLE_EVENT_STATUS_SUCCEEDED
FAIL_ON_AGENT_3 = 'case "$FERRYMAN_INSTALL_ROOT" in */agent-3/*) echo "agent 3 says no" >&2; exit 9;; esac'


def most_at_once(fleet: Fleet, deployment_id: str) -> int:
    """Returns the largest number of targets that were in progress at the same time, by the stored times."""
    request = deployments_pb2.ListDeploymentTargetsRequest(deployment_id=deployment_id)
    targets = fleet.ask(lambda client: client.call(client.deployments.ListDeploymentTargets, request)).targets
    moves = sorted(
        move for target in targets for move in ((target.started_at, 1), (target.completed_at, -1)) if move[0]
    )
    running = most = 0
    for _, step in moves:
        running += step
        most = max(most, running)
    return most


@pytest.mark.parametrize(
    "config, at_once",
    [
        pytest.param("CodeDeployDefault.OneAtATime", 1, marks=pytest.mark.req("CP-268")),
        pytest.param("CodeDeployDefault.HalfAtATime", 5, marks=pytest.mark.req("CP-267")),
        pytest.param("CodeDeployDefault.AllAtOnce", 10, marks=pytest.mark.req("CP-266")),
    ],
)
@pytest.mark.req("CP-010", "CP-269", "CP-111")
def test_speed_is_that_of_the_configuration(fleet: Fleet, config: str, at_once: int) -> None:
    progress = fleet.run(fleet.push({"BeforeInstall": "sleep 0.1"}), config=config)
    deployment = progress.deployment
    assert deployment.status == SUCCEEDED
    assert deployment.overview.succeeded == 10
    assert most_at_once(fleet, deployment.deployment_id) <= at_once
    runs = fleet.hook_runs(deployment.deployment_id)
    # ApplicationStop runs from the revision before, and notes the deployment of now.
    expected = {(agent.name, event) for agent in fleet.agents for event in HOOK_EVENTS[1:]}
    assert expected <= set(runs)
    assert set(runs.values()) == {1}
    for agent in fleet.agents:
        assert (agent.install_root / "srv/app/version").is_file()


@pytest.mark.req("CP-281", "CP-234", "CP-239", "CP-394")
def test_failing_hook_in_the_middle_ends_the_deployment_and_says_why(fleet: Fleet) -> None:
    progress = fleet.run(fleet.push({"AfterInstall": FAIL_ON_AGENT_3}), config="CodeDeployDefault.OneAtATime")
    deployment = progress.deployment
    failed = [t for t in progress.targets.values() if t.target.status == types_pb2.TARGET_STATUS_FAILED]
    assert [target.target.instance_name for target in failed] == ["agent-3"]
    event = failed[0].failed_event
    assert event is not None
    assert event.name == "AfterInstall"
    assert event.diagnostics.error_code == types_pb2.LIFECYCLE_ERROR_CODE_SCRIPT_FAILED
    assert event.diagnostics.exit_status == 9
    assert "agent 3 says no" in event.diagnostics.log_tail
    if deployment.overview.skipped:
        assert deployment.status == FAILED
        assert deployment.error.code == "HEALTH_CONSTRAINTS"
        for text in ("agent-3", "AfterInstall"):
            assert text in deployment.error.message
    else:
        # Agent 3 was the last one: nine of ten stay healthy, which is enough.
        assert deployment.status == SUCCEEDED
    assert failed[0].events["ValidateService"].status == types_pb2.LIFECYCLE_EVENT_STATUS_SKIPPED


@pytest.mark.req("CP-321", "CP-236", "CP-331", "CP-234")
def test_stop_lets_the_running_event_end_and_starts_nothing_more(fleet: Fleet) -> None:
    revision = fleet.push({"BeforeInstall": "sleep 1"})
    deployment_id = fleet.deploy(revision, config="CodeDeployDefault.OneAtATime")
    fleet.wait_until(
        lambda: any(event == "BeforeInstall" for _, event in fleet.hook_runs(deployment_id)),
        "the hook to run",
    )
    request = deployments_pb2.StopDeploymentRequest(deployment_id=deployment_id)
    answer = fleet.ask(lambda client: client.call(client.deployments.StopDeployment, request))
    assert not answer.is_stopped
    progress = fleet.wait(deployment_id)
    assert progress.deployment.status == STOPPED
    assert progress.deployment.error.code == "MANUAL_STOP"
    assert progress.deployment.stopped_by
    assert (progress.deployment.overview.failed, progress.deployment.overview.skipped) == (1, 9)
    assert {event for _, event in fleet.hook_runs(deployment_id)} <= {"ApplicationStop", "BeforeInstall"}
    with pytest.raises(ConflictError) as refused:
        fleet.ask(lambda client: client.call(client.deployments.StopDeployment, request))
    assert refused.value.reason == "DeploymentAlreadyCompletedException"


@pytest.mark.req("CP-333", "CP-334", "CP-336", "CP-338", "CP-339", "CP-345", "CP-346")
def test_failure_is_rolled_back_to_the_last_good_revision(fleet: Fleet) -> None:
    fleet.create_group("rolled", rollback=[types_pb2.ROLLBACK_EVENT_DEPLOYMENT_FAILURE])
    good = fleet.push(files={"rolled": "good"})
    assert fleet.run(good, group="rolled").deployment.status == SUCCEEDED
    by_script = {
        "AfterInstall": 'touch "${FERRYMAN_INSTALL_ROOT%/}/srv/app/made"',
        "ValidateService": "exit 1",
    }
    bad = fleet.push(by_script, files={"rolled": "bad", "more": "of it"})
    failed = fleet.run(bad, group="rolled").deployment
    assert failed.status == FAILED
    rollback_id = failed.rollback.rollback_deployment_id
    assert rollback_id
    rollback = fleet.wait(rollback_id).deployment
    assert rollback.status == SUCCEEDED
    assert rollback.creator == "codeDeployRollback"
    assert rollback.revision == good
    assert rollback.rollback.rollback_triggering_deployment_id == failed.deployment_id
    touched = 0
    for agent in fleet.agents:
        place = agent.install_root / "srv/app"
        assert (place / "rolled").read_text() == "good"
        assert not (place / "more").exists()
        touched += (place / "made").exists()
    assert touched == failed.overview.failed


@pytest.mark.req("CP-225", "CP-416")
def test_second_deployment_of_a_group_is_refused_by_name(fleet: Fleet) -> None:
    revision = fleet.push({"BeforeInstall": "sleep 1"})
    first = fleet.deploy(revision)
    with pytest.raises(ConflictError, match=first) as refused:
        fleet.deploy(revision)
    assert refused.value.reason == "DeploymentLimitExceededException"
    assert "all" in str(refused.value)
    assert fleet.wait(first).deployment.status == SUCCEEDED


@pytest.mark.req("CP-253", "CP-254", "CP-255")
def test_each_event_runs_the_scripts_of_the_revision_that_it_belongs_to(fleet: Fleet) -> None:
    agent = fleet.agents[0]
    fleet.create_group("scripts", tag=f"me={agent.name}")
    says = 'echo "$LIFECYCLE_EVENT of {}" >> "${{FERRYMAN_INSTALL_ROOT%/}}/said"'
    said = agent.install_root / "said"
    everything = set(SEGMENT)

    def deploy(name: str, events: Sequence[str]) -> list[str]:
        """Returns what the scripts said, once all seven events have succeeded."""
        said.unlink(missing_ok=True)
        revision = fleet.push(dict.fromkeys(events, says.format(name)), {"scripts": name}, events)
        (target,) = fleet.run(revision, group="scripts").targets.values()
        assert {event.name for event in target.events.values() if event.status == DONE} == everything
        return said.read_text().splitlines() if said.exists() else []

    behind_the_stop = HOOK_EVENTS[1:]
    # There is nothing to stop yet, though the new revision would know how.
    assert deploy("one", HOOK_EVENTS) == [f"{event} of one" for event in behind_the_stop]
    expected = ["ApplicationStop of one", *(f"{event} of two" for event in behind_the_stop)]
    assert deploy("two", HOOK_EVENTS) == expected
    # What failed has never been started, so it is not what has to be stopped.
    broken = fleet.push(dict.fromkeys(HOOK_EVENTS, f"{says.format('broken')}; exit 1"))
    assert fleet.run(broken, group="scripts").deployment.status == FAILED
    # A revision without scripts: only what stops the one before runs.
    assert deploy("three", ()) == ["ApplicationStop of two"]
    assert deploy("four", ("ApplicationStart",)) == ["ApplicationStart of four"]


@pytest.mark.req("CP-059", "CP-320", "CP-054", "AG-471")
def test_what_leaves_a_group_keeps_what_it_has(fleet: Fleet) -> None:
    stays, leaves = fleet.agents[8], fleet.agents[9]
    mark = types_pb2.Tag(key="ring", value="leaving")

    def tag(name: str, **change: list[types_pb2.Tag]) -> None:
        request = inventory_pb2.TagInstanceRequest(instance=name, **change)
        fleet.ask(lambda client: client.call(client.inventory.TagInstance, request))

    for agent in (stays, leaves):
        tag(agent.name, add=[mark])
    fleet.create_group("leaving", tag="ring=leaving")
    first = fleet.run(fleet.push(files={"ring": "first"}), group="leaving").deployment
    assert (first.status, first.overview.succeeded) == (SUCCEEDED, 2)
    before = leaves.story()
    tag(leaves.name, remove=[mark])
    second = fleet.run(
        fleet.push(files={"ring": "second"}), group="leaving", config="CodeDeployDefault.OneAtATime"
    ).deployment
    assert (second.status, second.counted_instances, second.overview.succeeded) == (SUCCEEDED, 1, 1)
    assert (stays.install_root / "srv/app/ring").read_text() == "second"
    assert (leaves.install_root / "srv/app/ring").read_text() == "first"
    assert leaves.story() == before
    request = inventory_pb2.GetInstanceRequest(instance=leaves.name)
    found = fleet.ask(lambda client: client.call(client.inventory.GetInstance, request)).instance
    (kept,) = (one for one in found.health if one.deployment_group_name == "leaving")
    assert kept.last_deployment_id == first.deployment_id
    assert kept.installed_revision == first.revision
