"""What a group may ask for beyond its configuration: that all succeed (K6), that a fleet of one may go (A7)."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.group_options import GroupOptions
from ferryman_coordinator.core.model import Creator, DeploymentStatus, TargetStatus, ZonalConfig
from ferryman_coordinator.core.plan import plan
from tests.support.rollouts import Drive, at_a_time, count, fleet, fleet_spec, percent

ALL = GroupOptions(require_all=True)
SINGLE = GroupOptions(single_as_one_at_a_time=True)


@pytest.mark.req("K6")
def test_one_failure_ends_a_deployment_that_requires_all() -> None:
    drive = Drive(fleet_spec(at_a_time(1), options=ALL), fleet(4))
    drive.succeed(drive.id_of(1))
    drive.fail(drive.id_of(2))
    assert drive.status is DeploymentStatus.FAILED
    assert drive.code == "HEALTH_CONSTRAINTS"
    assert "requires every instance to succeed" in drive.message
    assert len(drive.with_status(TargetStatus.SKIPPED)) == 2


@pytest.mark.req("K6")
def test_even_the_last_one_must_succeed_where_all_are_required() -> None:
    drive = Drive(fleet_spec(at_a_time(1), options=ALL), fleet(2))
    drive.succeed(drive.id_of(1))
    drive.fail(drive.id_of(2))
    assert drive.status is DeploymentStatus.FAILED
    assert "requires every instance to succeed" in drive.message
    usual = Drive(fleet_spec(at_a_time(1)), fleet(2))
    usual.succeed(usual.id_of(1))
    usual.fail(usual.id_of(2))
    assert usual.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("K6")
def test_targets_in_progress_finish_when_all_are_required_and_one_fails() -> None:
    drive = Drive(fleet_spec(count(0), options=ALL), fleet(3))
    statuses = []
    drive.fail(drive.id_of(1))
    statuses.append(drive.status)
    drive.succeed(drive.id_of(2))
    drive.succeed(drive.id_of(3))
    statuses.append(drive.status)
    assert statuses == [DeploymentStatus.IN_PROGRESS, DeploymentStatus.FAILED]


@pytest.mark.req("K6")
def test_a_rollback_goes_on_for_the_sake_of_the_others() -> None:
    drive = Drive(fleet_spec(count(1), options=ALL, creator=Creator.ROLLBACK), fleet(3))
    drive.fail(drive.id_of(1))
    drive.succeed(drive.id_of(2))
    drive.succeed(drive.id_of(3))
    assert drive.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("A7")
def test_a_fleet_of_one_is_deployed_to_when_the_group_asks_for_it() -> None:
    drive = Drive(fleet_spec(percent(50), options=SINGLE), fleet(1))
    drive.succeed(drive.id_of(1))
    assert drive.status is DeploymentStatus.SUCCEEDED
    failing = Drive(fleet_spec(percent(50), options=SINGLE), fleet(1))
    failing.fail(failing.id_of(1))
    assert failing.status is DeploymentStatus.FAILED
    refused = Drive(fleet_spec(percent(50)), fleet(1))
    assert refused.code == "HEALTH_CONSTRAINTS_INVALID"
    # Of two, one can stay healthy: the configuration holds.
    pair = Drive(fleet_spec(percent(50), options=SINGLE), fleet(2))
    assert len(pair.in_progress) == 1


@pytest.mark.req("A7")
def test_a_fleet_of_one_in_a_zone_is_deployed_to_as_well() -> None:
    zonal = ZonalConfig(minimum_per_zone=percent(50))
    drive = Drive(fleet_spec(percent(50), zonal=zonal, options=SINGLE), fleet(1, zones=["a"]))
    drive.succeed(drive.id_of(1))
    assert drive.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("K7", "CP-422")
def test_a_plan_warns_of_a_fleet_of_one_unless_it_is_allowed() -> None:
    planned = plan(fleet_spec(percent(50)), fleet(1))
    assert planned.error is not None
    assert planned.targeted == 1
    assert [text for text in planned.warnings if "every deployment would fail at once" in text]
    allowed = plan(fleet_spec(percent(50), options=SINGLE), fleet(1))
    assert (allowed.error, allowed.warnings, allowed.minimum) == (None, (), 0)
