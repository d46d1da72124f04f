from __future__ import annotations

import pytest

from ferryman_coordinator.core.admission import small_fleet_warning
from ferryman_coordinator.core.model import (
    InstanceHealth,
    Member,
    MinimumHealthyHosts,
    RevisionHealth,
    ZonalConfig,
)
from ferryman_coordinator.core.plan import plan
from tests.support.rollouts import Drive, at_a_time, count, fleet, fleet_spec, member, percent


@pytest.mark.req("CP-422")
def test_says_why_each_stands_where_it_does() -> None:
    members = [
        member(1, revision_health=RevisionHealth.CURRENT),
        member(2, instance_health=InstanceHealth.UNHEALTHY),
        member(3, revision_health=RevisionHealth.UNKNOWN),
        member(4),
    ]
    foretold = plan(fleet_spec(at_a_time(1)), members)

    assert [(one.member.instance_id, one.wave, one.reason) for one in foretold.targets] == [
        ("mi-2", 1, "unhealthy, so it goes first"),
        ("mi-3", 2, "healthy, nothing known is installed"),
        ("mi-4", 3, "healthy, an older revision is installed"),
        ("mi-1", 4, "healthy, the group's present revision is installed"),
    ]
    assert foretold.reason == (
        "CodeDeployDefault.OneAtATime, at most 1 at a time: of 4 instances 3 stay healthy, so at most 1 go at once."
    )
    assert foretold.error is None
    assert foretold.warnings == ()


def test_names_the_limit_that_binds() -> None:
    zonal = ZonalConfig(minimum_per_zone=count(3))
    foretold = plan(fleet_spec(count(2), zonal=zonal), fleet(8, zones=("a", "b")))

    assert foretold.reason == (
        "a minimum of 3 healthy instances in each zone: of the 4 instances of zone a 3 stay healthy,"
        " so at most 1 go at once there."
    )
    assert foretold.targets[0].reason == "zone a, healthy, an older revision is installed"
    by_fleet = plan(fleet_spec(count(7), zonal=zonal), fleet(8, zones=("a", "b")))
    assert by_fleet.reason.startswith(
        "CodeDeployDefault.OneAtATime, a minimum of 7 healthy instances: of 8 instances"
    )


@pytest.mark.parametrize(
    "minimum, members, code",
    [(percent(50), fleet(1), "HEALTH_CONSTRAINTS_INVALID"), (count(0), [], "NO_INSTANCES")],
)
def test_foretells_what_ends_it_at_once(
    minimum: MinimumHealthyHosts, members: list[Member], code: str
) -> None:
    foretold = plan(fleet_spec(minimum), members)

    assert foretold.error is not None
    assert foretold.error == Drive(fleet_spec(minimum), members).rollout.record.error
    assert foretold.error.code == code
    assert foretold.targets == ()


def test_warns_of_healthy_ones_that_have_to_wait() -> None:
    foretold = plan(fleet_spec(count(3)), fleet(4, unhealthy=2))

    assert foretold.warnings == (
        "only 2 instances are healthy now, fewer than the minimum of 3:"
        " healthy ones wait until enough of the others have succeeded",
    )


@pytest.mark.req("CP-220")
def test_nothing_to_do() -> None:
    foretold = plan(fleet_spec(count(0)), [member(1, is_target=False)])

    assert foretold.targets == ()
    assert foretold.error is None
    assert foretold.warnings == ("Nothing to do: the only instance of the group has this revision.",)


def test_stuck_zone_ends_the_plan() -> None:
    members = [member(1, zone="a"), member(2, zone="a"), *fleet(4, unhealthy=4, zones=("b",))]
    foretold = plan(fleet_spec(count(4), zonal=ZonalConfig()), [*members[:2], *members[4:]])

    assert foretold.targets == ()


@pytest.mark.req("T41", "CP-422")
@pytest.mark.parametrize(
    "minimum, size, warns",
    [
        (percent(50), 1, True),
        (percent(50), 2, False),
        (count(3), 3, True),
        (at_a_time(1), 1, False),
        (count(9), 0, False),
    ],
)
def test_warning_for_small_fleets(minimum: MinimumHealthyHosts, size: int, warns: bool) -> None:
    warning = small_fleet_warning(minimum, size)

    assert (warning is not None) is warns
    if warning is not None:
        assert "every deployment would fail at once" in warning
