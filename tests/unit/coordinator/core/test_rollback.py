"""CP section 16."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ferryman_coordinator.core.messages import RollbackOrdered, RolloutChanged
from ferryman_coordinator.core.model import (
    AutoRollback,
    Creator,
    DeploymentId,
    DeploymentStatus,
    EventStatus,
    FileExistsBehavior,
    LastGood,
    RollbackEvent,
    Timers,
    ZonalConfig,
)
from ferryman_coordinator.core.rollback import progress, rollback_spec
from tests.support.coordinator_records import bundle
from tests.support.rollouts import Drive, count, fleet, fleet_spec, percent

GOOD = LastGood(
    deployment_id=DeploymentId("d-LASTGOOD1"),
    revision=bundle("b"),
    file_exists_behavior=FileExistsBehavior.RETAIN,
)
ON_FAILURE = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE}))
ON_STOP = AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_STOP_ON_REQUEST}))
ON_ALL = AutoRollback(enabled=True, events=frozenset(RollbackEvent))


def failed(**changes: Any) -> Drive:
    """A deployment of two instances that has failed."""
    options = {
        "last_good": GOOD,
        "auto_rollback": ON_FAILURE,
        "file_exists_behavior": FileExistsBehavior.OVERWRITE,
    }
    drive = Drive(fleet_spec(count(1), **(options | changes)), fleet(2, zones=("a",)))
    drive.fail(drive.started[0])
    assert drive.status is DeploymentStatus.FAILED
    return drive


def stopped(word: bool | None, settings: AutoRollback) -> Drive:
    """A deployment of two instances that was stopped."""
    drive = Drive(fleet_spec(count(1), last_good=GOOD, auto_rollback=settings), fleet(2))
    drive.stop(auto_rollback=word)
    drive.segment(drive.started[0], EventStatus.SKIPPED)
    assert drive.status is DeploymentStatus.STOPPED
    return drive


@pytest.mark.req("CP-334", "CP-336", "CP-340", "PF-207")
def test_failure_is_rolled_back_to_the_last_good_revision() -> None:
    drive = failed()

    assert drive.kept.rollbacks == [
        RollbackOrdered(
            revision=bundle("b"),
            file_exists_behavior=FileExistsBehavior.RETAIN,
            message="Rolling back to the revision of d-LASTGOOD1, the group's last successful deployment.",
        )
    ]
    assert drive.rollout.record.rollback_message == drive.kept.rollbacks[0].message


@pytest.mark.req("CP-343")
def test_order_comes_with_the_final_record() -> None:
    final, ordered = failed().last.changes[-2:]

    assert isinstance(final, RolloutChanged)
    assert final.record.status is DeploymentStatus.FAILED
    assert isinstance(ordered, RollbackOrdered)


@pytest.mark.req("CP-337", "T61", "PF-210")
def test_first_deployment_has_nothing_to_go_back_to() -> None:
    drive = failed(last_good=None)

    assert not drive.kept.rollbacks
    assert "no successful deployment to go back to" in drive.rollout.record.rollback_message


@pytest.mark.req("CP-334")
@pytest.mark.parametrize(
    "settings", [AutoRollback(), AutoRollback(enabled=False, events=frozenset(RollbackEvent)), ON_STOP]
)
def test_not_asked_for(settings: AutoRollback) -> None:
    drive = failed(auto_rollback=settings)

    assert not drive.kept.rollbacks
    assert drive.rollout.record.rollback_message == ""


@pytest.mark.req("CP-342", "T62", "PF-209")
def test_failed_rollback_is_not_rolled_back() -> None:
    drive = failed(creator=Creator.ROLLBACK, auto_rollback=ON_ALL)

    assert not drive.kept.rollbacks
    assert drive.rollout.record.rollback_message == progress(DeploymentStatus.FAILED)


@pytest.mark.req("CP-353")
def test_failed_deployment_of_the_last_good_revision_itself_is() -> None:
    assert failed(revision=GOOD.revision).kept.rollbacks


@pytest.mark.req("CP-329", "CP-334", "T59")
@pytest.mark.parametrize(
    "word, settings, is_ordered",
    [
        (True, AutoRollback(), True),
        (False, ON_STOP, False),
        (None, ON_STOP, True),
        (None, ON_FAILURE, False),
        (None, AutoRollback(), False),
        (False, AutoRollback(), False),
    ],
)
def test_stop(word: bool | None, settings: AutoRollback, is_ordered: bool) -> None:
    assert bool(stopped(word, settings).kept.rollbacks) is is_ordered


@pytest.mark.req("CP-334")
def test_run_cap_is_a_failure() -> None:
    timers = Timers(run_cap_ms=1000)
    drive = Drive(fleet_spec(count(1), last_good=GOOD, auto_rollback=ON_FAILURE, timers=timers), fleet(2))
    drive.after(1)
    drive.segment(drive.started[0], EventStatus.SKIPPED)

    assert drive.code == "TIMEOUT"
    assert drive.kept.rollbacks


def test_deployment_that_touched_nothing_is_not_rolled_back() -> None:
    drive = Drive(fleet_spec(percent(99), last_good=GOOD, auto_rollback=ON_ALL), fleet(2))

    assert drive.code == "HEALTH_CONSTRAINTS_INVALID"
    assert not drive.kept.rollbacks
    assert "before it touched an instance" in drive.rollout.record.rollback_message


def test_success_is_not_rolled_back() -> None:
    drive = Drive(fleet_spec(count(0), last_good=GOOD, auto_rollback=ON_ALL), fleet(1))
    drive.succeed(drive.started[0])

    assert not drive.kept.rollbacks
    assert drive.rollout.record.rollback_message == ""


@pytest.mark.req("CP-299", "CP-333", "CP-339", "CP-340", "CP-341", "CP-345", "T50", "A37", "K22")
def test_snapshot_of_the_rollback() -> None:
    drive = failed(zonal=ZonalConfig(monitor_seconds=60), update_outdated_instances_only=True)

    spec = rollback_spec(drive.spec, drive.kept.rollbacks[0], DeploymentId("d-ROLLBACK1"))

    assert spec == replace(
        drive.spec,
        deployment_id=DeploymentId("d-ROLLBACK1"),
        creator=Creator.ROLLBACK,
        revision=bundle("b"),
        zonal=None,
        ignore_application_stop_failures=True,
        file_exists_behavior=FileExistsBehavior.RETAIN,
        update_outdated_instances_only=False,
        auto_rollback=AutoRollback(),
    )
    assert (spec.minimum, spec.config_name) == (drive.spec.minimum, drive.spec.config_name)
    again = Drive(spec, fleet(4, zones=("a", "b")))
    assert again.rollout.record.zones == ()
    assert len(again.started) == 3, "all zones at once, under the minimum of 1 alone"


def test_messages_follow_the_progress() -> None:
    drive = Drive(fleet_spec(count(0), creator=Creator.ROLLBACK), fleet(1))
    assert drive.rollout.record.rollback_message == "The rollback is in progress."
    drive.succeed(drive.started[0])
    assert drive.rollout.record.rollback_message == "The rollback succeeded."
    assert {progress(status) for status in (DeploymentStatus.CREATED, DeploymentStatus.IN_PROGRESS)} == {
        "The rollback is in progress."
    }
    assert "failed" in progress(DeploymentStatus.FAILED)
    assert "stopped" in progress(DeploymentStatus.STOPPED)
