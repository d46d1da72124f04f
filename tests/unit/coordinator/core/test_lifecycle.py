from __future__ import annotations

import pytest

from ferryman_coordinator.core.lifecycle import (
    Route,
    complete,
    event_names,
    ignorable_failures,
    in_place_path,
)
from ferryman_coordinator.core.model import CoordinatorEvent, EventStatus, Segment, Step, TargetStatus
from tests.support.clock import START
from tests.support.coordinator_records import event_record, target_record
from tests.support.rollouts import count, fleet_spec

SEVEN = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)


@pytest.mark.req("CP-251", "AG-183", "AG-194", "AG-C25")
def test_without_a_load_balancer_one_command_holds_all() -> None:
    assert in_place_path() == (Segment(SEVEN),)
    assert event_names(in_place_path())[-1] == "ValidateService"


@pytest.mark.req("CP-250", "AG-183", "AG-194", "AG-C25")
def test_with_a_load_balancer_the_coordinators_own_events_are_steps_between() -> None:
    path = in_place_path(with_traffic_control=True)

    assert path == (
        Segment(("BeforeBlockTraffic",)),
        CoordinatorEvent("BlockTraffic"),
        Segment(("AfterBlockTraffic", *SEVEN, "BeforeAllowTraffic")),
        CoordinatorEvent("AllowTraffic"),
        Segment(("AfterAllowTraffic",)),
    )
    assert event_names(path) == (
        "BeforeBlockTraffic",
        "BlockTraffic",
        "AfterBlockTraffic",
        *SEVEN,
        "BeforeAllowTraffic",
        "AllowTraffic",
        "AfterAllowTraffic",
    )


@pytest.mark.req("CP-215", "CP-216", "AG-C24")
def test_what_may_fail_without_consequence() -> None:
    strict = fleet_spec(count(0))
    lenient = fleet_spec(count(0), ignore_application_stop_failures=True)
    with_traffic = fleet_spec(
        count(0), ignore_application_stop_failures=True, path=in_place_path(with_traffic_control=True)
    )

    assert ignorable_failures(strict) == ()
    assert ignorable_failures(lenient) == ("ApplicationStop",)
    assert ignorable_failures(with_traffic) == ("BeforeBlockTraffic", "AfterBlockTraffic", "ApplicationStop")


@pytest.mark.parametrize(
    "path, problem",
    [
        ((), "needs a step"),
        ((Segment(()),), "each segment a lifecycle event"),
        ((Segment(("Install",)), Segment(("Install",))), "once"),
        (in_place_path(with_traffic_control=True), "nothing here can carry out BlockTraffic"),
    ],
)
def test_path_that_cannot_be_walked(path: tuple[Step, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Route(path)


def test_events_without_a_record_follow_their_target() -> None:
    path = (Segment(("ApplicationStop", "Install")),)
    stop = event_record("ApplicationStop")

    pending = complete(path, target_record(1, TargetStatus.IN_PROGRESS), [stop])
    skipped = complete(path, target_record(1, TargetStatus.SKIPPED, completed_at=START), [])

    assert pending[0] == stop
    assert (pending[1].name, pending[1].status, pending[1].ended_at) == ("Install", EventStatus.PENDING, None)
    assert [(one.name, one.status, one.started_at, one.ended_at) for one in skipped] == [
        ("ApplicationStop", EventStatus.SKIPPED, None, START),
        ("Install", EventStatus.SKIPPED, None, START),
    ]
