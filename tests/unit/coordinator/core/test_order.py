"""Who is next: classes, the seeded shuffle, zones, and what is counted."""

from __future__ import annotations

import random

import pytest

from ferryman_coordinator.core.model import (
    DeploymentId,
    DeploymentStatus,
    InstanceHealth,
    InstanceId,
    MinimumHealthyHosts,
    RevisionHealth,
    TargetStatus,
    ZonalConfig,
)
from ferryman_coordinator.core.schedule import resolve_minimum, start_order
from tests.support.rollouts import Drive, at_a_time, count, fleet, fleet_spec, member, percent

UNHEALTHY, HEALTHY = InstanceHealth.UNHEALTHY, InstanceHealth.HEALTHY


@pytest.mark.req("CP-277", "T45")
def test_classes_come_one_after_another() -> None:
    members = [
        member(1, revision_health=RevisionHealth.CURRENT),
        member(2, revision_health=RevisionHealth.OLD),
        member(3, revision_health=RevisionHealth.UNKNOWN),
        # Whatever it has installed: unhealthy comes first.
        member(4, revision_health=RevisionHealth.CURRENT, instance_health=UNHEALTHY),
    ]
    drive = Drive(fleet_spec(at_a_time(1)), members)
    while not drive.status.is_terminal:
        drive.succeed(drive.in_progress[0])

    assert drive.started == ["mi-4", "mi-3", "mi-2", "mi-1"]


@pytest.mark.req("CP-278")
def test_inside_a_class_the_deployment_decides() -> None:
    """The same deployment takes the same order however its members are listed; another one takes another."""
    members = fleet(50)
    shuffled = list(members)
    random.Random(7).shuffle(shuffled)

    first = start_order(members, DeploymentId("d-1"), by_zone=False)

    assert start_order(shuffled, DeploymentId("d-1"), by_zone=False) == first
    assert start_order(members, DeploymentId("d-2"), by_zone=False) != first
    assert first != members


@pytest.mark.req("CP-279", "CP-272")
def test_worked_example_w23_by_name() -> None:
    """Unhealthy a, b first, then c and one healthy, then pairs; never fewer than the initial 7 are available."""
    drive = Drive(fleet_spec(count(8)), fleet(10, unhealthy=3))
    unhealthy = {InstanceId(f"mi-{number}") for number in range(3)}

    assert len(drive.started) == 2
    assert set(drive.started) < unhealthy
    for one in drive.in_progress:
        drive.succeed(one)
    assert len(drive.started) == 4
    assert unhealthy < set(drive.started)


@pytest.mark.req("CP-280")
def test_healthy_one_waits_until_it_can_be_spared() -> None:
    """3 healthy of 5 under a minimum of 3: none of them may go before an unhealthy one has come back."""
    drive = Drive(fleet_spec(count(3)), fleet(5, unhealthy=2))
    assert drive.started == drive.in_progress
    assert {*drive.started} == {"mi-0", "mi-1"}

    drive.fail(drive.started[0])
    assert len(drive.started) == 2
    drive.succeed(drive.started[1])
    assert len(drive.started) == 3


@pytest.mark.req("CP-275", "CP-269")
def test_after_a_failure_fewer_run_at_once_even_where_nobody_is_healthy() -> None:
    """No healthy one is at risk, so it is the failures alone that make the window smaller."""
    drive = Drive(fleet_spec(count(8)), fleet(10, unhealthy=10))
    assert len(drive.in_progress) == 2

    drive.fail(drive.started[0])
    assert len(drive.in_progress) == 1
    while drive.in_progress:
        drive.succeed(drive.in_progress[0])
        assert len(drive.in_progress) <= 1
    assert drive.status is DeploymentStatus.SUCCEEDED


@pytest.mark.req("CP-266", "CP-267", "CP-268")
@pytest.mark.parametrize(
    "minimum, counted, expected",
    [(count(7), 10, 7), (count(7), 2, 7), (percent(50), 9, 5), (at_a_time(1), 10, 9), (at_a_time(3), 2, 0)],
)
def test_minimum_of_so_many(minimum: MinimumHealthyHosts, counted: int, expected: int) -> None:
    assert resolve_minimum(minimum, counted) == expected


@pytest.mark.req("CP-287", "CP-122")
def test_without_a_zonal_part_zones_do_not_matter() -> None:
    """Half at a time is half of the whole group."""
    drive = Drive(fleet_spec(percent(50)), fleet(9, zones=("a", "b", "c")))

    assert len(drive.in_progress) == 4
    assert drive.rollout.record.zones == ()
    # Nor for who comes when.
    without_zones = Drive(fleet_spec(percent(50)), fleet(9))
    assert list(drive.rollout.targets) == list(without_zones.rollout.targets)


class TestZones:
    @pytest.mark.req("CP-288", "CP-296", "CP-297", "A16")
    def test_zones_come_in_order_whatever_the_health(self) -> None:
        members = [
            member(1, zone="b", instance_health=UNHEALTHY),
            member(2, zone="a"),
            member(3, zone="a", instance_health=UNHEALTHY),
            member(4, zone="c"),
            member(5, zone="c"),
        ]
        drive = Drive(fleet_spec(count(0), zonal=ZonalConfig(minimum_per_zone=count(0))), members)
        assert drive.rollout.record.zones == ("a", "b", "c")
        assert set(drive.in_progress) == {"mi-2", "mi-3"}
        drive.succeed(InstanceId("mi-3"))
        assert drive.in_progress == ["mi-2"]
        drive.succeed(InstanceId("mi-2"))
        assert drive.in_progress == ["mi-1"]
        drive.succeed(InstanceId("mi-1"))

        assert set(drive.in_progress) == {"mi-4", "mi-5"}

    @pytest.mark.req("CP-297")
    def test_inside_a_zone_the_classes_come_one_after_another(self) -> None:
        classes = [
            (UNHEALTHY, RevisionHealth.CURRENT),
            (HEALTHY, RevisionHealth.UNKNOWN),
            (HEALTHY, RevisionHealth.OLD),
            (HEALTHY, RevisionHealth.CURRENT),
        ]
        # Four of each class in both zones.
        members = []
        for number in range(32):
            health, revision = classes[number // 2 % 4]
            zone = "ab"[number % 2]
            members.append(member(number, zone=zone, instance_health=health, revision_health=revision))
        drive = Drive(fleet_spec(count(0), zonal=ZonalConfig()), members)

        order = [int(instance_id.removeprefix("mi-")) for instance_id in drive.rollout.targets]
        assert [number % 2 for number in order] == [0] * 16 + [1] * 16
        assert [number // 2 % 4 for number in order] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3] * 2

    @pytest.mark.req("CP-289")
    def test_smaller_of_the_two_limits_binds(self) -> None:
        by_fleet = Drive(
            fleet_spec(count(7), zonal=ZonalConfig(minimum_per_zone=count(1))), fleet(8, zones=("a", "b"))
        )
        by_zone = Drive(
            fleet_spec(count(2), zonal=ZonalConfig(minimum_per_zone=count(2))), fleet(8, zones=("a", "b"))
        )

        assert len(by_fleet.in_progress) == 1
        assert len(by_zone.in_progress) == 2

    @pytest.mark.req("CP-290", "CP-292")
    def test_zone_that_runs_out_of_its_own_budget_ends_all(self) -> None:
        zonal = ZonalConfig(minimum_per_zone=percent(50))
        drive = Drive(fleet_spec(count(0), zonal=zonal), fleet(8, zones=("a", "b")))
        drive.fail(drive.in_progress[0])
        assert drive.status is DeploymentStatus.IN_PROGRESS
        drive.fail(drive.in_progress[0])

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")
        assert "of zone a failed" in drive.message
        assert drive.rollout.overview.skipped == 6

    @pytest.mark.req("CP-298")
    def test_zone_without_a_success_ends_all(self) -> None:
        zonal = ZonalConfig(monitor_seconds=60)
        drive = Drive(fleet_spec(count(0), zonal=zonal), fleet(4, zones=("a", "b")))
        for one in drive.in_progress:
            drive.fail(one)

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")
        assert "Zone a ended without a single success" in drive.message

    @pytest.mark.req("CP-292")
    def test_finished_zone_below_its_minimum_ends_all(self) -> None:
        """With no work left in the zone there is no abort test any more: the zone's end is what counts."""
        members = [
            *(member(number, zone="a") for number in range(5)),
            member(5, zone="b"),
            member(6, zone="b"),
        ]
        drive = Drive(fleet_spec(count(0), zonal=ZonalConfig(minimum_per_zone=percent(40))), members)
        first, second, third = drive.started
        for one in drive.with_status(TargetStatus.PENDING)[:2]:
            drive.gone(one)
        drive.fail(first)
        drive.fail(second)
        assert drive.rollout.record.ending is None
        drive.succeed(third)

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")
        assert "Zone a ended with too few healthy instances" in drive.message
        assert drive.rollout.overview.skipped == 2

    @pytest.mark.req("CP-294")
    def test_failure_in_the_bake_ends_it(self) -> None:
        zonal = ZonalConfig(monitor_seconds=600, minimum_per_zone=count(1))
        drive = Drive(fleet_spec(count(0), zonal=zonal), fleet(6, zones=("a", "b")))
        while drive.in_progress:
            drive.succeed(drive.in_progress[0])
        assert drive.status is DeploymentStatus.BAKING
        gone = drive.with_status(TargetStatus.PENDING)
        drive.gone(gone[0])
        drive.gone(gone[1])

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")

    @pytest.mark.req("CP-140")
    @pytest.mark.parametrize(
        "first, rest, expected",
        [(None, None, [0, 0]), (None, 30, [30, 30]), (10, 30, [10, 30]), (0, 30, [0, 30])],
    )
    def test_which_bake_follows_which_zone(
        self, first: int | None, rest: int | None, expected: list[int]
    ) -> None:
        zonal = ZonalConfig(first_zone_monitor_seconds=first, monitor_seconds=rest)
        drive = Drive(fleet_spec(count(0), zonal=zonal), fleet(3, zones=("a", "b", "c")))
        bakes = []
        while not drive.status.is_terminal:
            drive.succeed(drive.in_progress[0])
            if drive.status is DeploymentStatus.BAKING:
                until = drive.rollout.record.bake_until
                assert until is not None
                bakes.append((until - drive.now) // 1000)
                drive.pass_time(bakes[-1])
            else:
                bakes.append(0)

        assert bakes == [*expected, 0], "and none after the last"

    @pytest.mark.req("CP-300")
    def test_single_zone_keeps_both_minima(self) -> None:
        zonal = ZonalConfig(minimum_per_zone=count(3))
        drive = Drive(fleet_spec(count(0), zonal=zonal), fleet(4, zones=("a",)))

        assert len(drive.in_progress) == 1

    @pytest.mark.req("CP-293", "A15")
    def test_impossible_zone_ends_it_at_the_start(self) -> None:
        members = [member(1, zone="a"), member(2, zone="a"), member(3, zone="b")]
        drive = Drive(fleet_spec(count(0), zonal=ZonalConfig(minimum_per_zone=percent(50))), members)

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS_INVALID")
        assert "zone b" in drive.message
        assert not drive.started

    @pytest.mark.req("CP-142", "K23")
    def test_instance_without_a_zone_is_refused(self) -> None:
        members = [member(1, zone="a"), member(2, zone="a"), member(3)]
        drive = Drive(fleet_spec(count(0), zonal=ZonalConfig()), members)

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS_INVALID")
        assert "web-3 (mi-3)" in drive.message
        assert "--zone" in drive.message
        # With a label of its own, an instance of whatever kind goes along.
        labelled = Drive(fleet_spec(count(0), zonal=ZonalConfig()), members[:2])
        assert len(labelled.started) == 2

    @pytest.mark.req("CP-280")
    def test_as_long_as_one_can_be_spared_it_starts(self) -> None:
        """The unhealthy one is in the last zone: it cannot come first, so three of four are available."""
        members = [
            *(member(number, zone="a") for number in range(3)),
            member(3, zone="b", instance_health=UNHEALTHY),
        ]
        drive = Drive(fleet_spec(count(2), zonal=ZonalConfig()), members)
        assert len(drive.in_progress) == 1

        # With a minimum of three none is to spare, though a single one in progress would leave three.
        stuck = Drive(fleet_spec(count(3), zonal=ZonalConfig()), members)
        assert stuck.started == []
        assert stuck.status is DeploymentStatus.FAILED

    @pytest.mark.req("CP-272", "CP-297")
    def test_stuck_when_the_unhealthy_are_in_later_zones(self) -> None:
        """Step 3 of CP section 13.2: nothing is in progress and nothing may start, so it is given up."""
        members = [
            member(1, zone="a"),
            member(2, zone="a"),
            member(3, zone="b", instance_health=UNHEALTHY),
            member(4, zone="b", instance_health=UNHEALTHY),
        ]
        drive = Drive(fleet_spec(count(2), zonal=ZonalConfig()), members)

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS")
        assert "No further instance can be taken out" in drive.message
        assert drive.rollout.overview.skipped == 4


class TestOutdatedOnly:
    """CP-302: up-to-date members are counted and healthy, but left alone."""

    @pytest.mark.req("CP-302", "T75", "A8")
    def test_small_remainder(self) -> None:
        members = [member(number, is_target=number == 4) for number in range(10)]
        drive = Drive(fleet_spec(count(8), update_outdated_instances_only=True), members)

        assert drive.rollout.record.counted == 10
        assert list(drive.rollout.targets) == ["mi-4"]
        assert "9 of 10 instances have this revision already" in drive.rollout.record.messages[0]
        drive.succeed(drive.started[0])
        assert drive.status is DeploymentStatus.SUCCEEDED

    @pytest.mark.req("CP-220", "T76")
    def test_nothing_to_do(self) -> None:
        members = [member(number, is_target=False) for number in range(3)]
        drive = Drive(fleet_spec(percent(99), update_outdated_instances_only=True), members)

        record = drive.rollout.record
        assert (record.status, record.error) == (DeploymentStatus.SUCCEEDED, None)
        assert len(drive.rollout.targets) == 0
        assert record.messages == ("Nothing to do: all 3 instances of the group have this revision.",)
        assert record.started_at is not None

    @pytest.mark.req("CP-302", "CP-291")
    def test_counts_in_each_zone_survive_a_restart(self) -> None:
        members = [member(number, zone="ab"[number % 2], is_target=number < 8) for number in range(12)]
        zonal = ZonalConfig(minimum_per_zone=count(4), monitor_seconds=5)
        drive = Drive(fleet_spec(count(0), update_outdated_instances_only=True, zonal=zonal), members)
        assert drive.rollout.record.zone_counted == (6, 6)
        while not drive.status.is_terminal:
            assert len(drive.in_progress) <= 2, (
                "4 of the 6 in a zone stay healthy, up-to-date ones among them"
            )
            drive.rollout = drive.kept.restore(drive.spec)
            drive.rollout.check()
            if drive.status is DeploymentStatus.BAKING:
                drive.pass_time(5)
            else:
                drive.succeed(drive.in_progress[0])

        assert drive.rollout.record.zone == 1
        assert len(drive.with_status(TargetStatus.SUCCEEDED)) == 8


class TestAdmission:
    @pytest.mark.req("CP-055", "T19", "CP-239")
    def test_nobody_matches(self) -> None:
        drive = Drive(fleet_spec(count(0)), [])

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "NO_INSTANCES")
        assert "production of web" in drive.message
        assert drive.rollout.record.started_at is None
        assert drive.rollout.record.completed_at == drive.now

    @pytest.mark.req("CP-229", "CP-228")
    def test_too_many(self) -> None:
        drive = Drive(fleet_spec(count(0), max_targets=3), fleet(4))

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "OVER_MAX_INSTANCES")
        assert "4 targets" in drive.message
        assert len(drive.rollout.targets) == 0

    @pytest.mark.req("CP-228")
    def test_up_to_date_members_do_not_count_against_the_limit(self) -> None:
        members = [member(number, is_target=number == 0) for number in range(9)]

        assert Drive(fleet_spec(count(0), max_targets=1), members).in_progress == ["mi-0"]

    @pytest.mark.req("CP-270", "CP-392")
    def test_minimum_of_everybody(self) -> None:
        drive = Drive(fleet_spec(count(4)), fleet(4))

        assert (drive.status, drive.code) == (DeploymentStatus.FAILED, "HEALTH_CONSTRAINTS_INVALID")
        assert "M=4, N=4" in drive.message
        assert not drive.kept.targets

    def test_member_given_twice(self) -> None:
        with pytest.raises(ValueError, match="an instance twice"):
            Drive(fleet_spec(count(0)), [member(1), member(1)])


@pytest.mark.req("CP-246", "CP-238", "CP-111")
def test_overview_always_sums_to_the_targets() -> None:
    drive = Drive(fleet_spec(count(7)), fleet(10))
    seen = []
    while not drive.status.is_terminal:
        (drive.fail if len(drive.started) % 3 == 0 else drive.succeed)(drive.in_progress[0])
        overview = drive.rollout.overview
        seen.append(
            overview.pending
            + overview.in_progress
            + overview.succeeded
            + overview.failed
            + overview.skipped
            + overview.ready
        )

    assert set(seen) == {10}


@pytest.mark.req("CP-232", "CP-233")
def test_times_of_a_deployment() -> None:
    drive = Drive(fleet_spec(count(0)), fleet(1))
    begun = drive.now
    assert drive.rollout.record.started_at == begun
    drive.after(5)
    drive.succeed(drive.started[0])

    record = drive.rollout.record
    assert (record.created_at, record.started_at, record.completed_at) == (begun, begun, drive.now)
