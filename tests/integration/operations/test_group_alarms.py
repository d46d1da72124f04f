"""How many alarms a group may have (CP-362)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ferryman_coordinator.config import load
from ferryman_coordinator.core.group_options import AlarmConfiguration, GroupOptions
from ferryman_coordinator.errors import LimitExceeded, SetupError
from ferryman_coordinator.store.store import Store
from tests.support.desk import Desk


def alarmed(count: int) -> Callable[[GroupOptions], GroupOptions]:
    names = tuple(f"alarm {number}" for number in range(count))
    return lambda options: replace(options, alarms=AlarmConfiguration(enabled=True, alarms=names))


@pytest.mark.req("CP-362", "A10", "PF-199")
@pytest.mark.parametrize("limit", [None, 50])
async def test_ten_alarms_and_up_to_fifty_by_a_setting(store: Store, limit: int | None) -> None:
    flags = {"data_dir": "/nowhere"} | ({"limits.alarms_per_group": str(limit)} if limit else {})
    limits = load(None, {}, flags).limits
    assert limits.alarms_per_group == (limit or 10)
    desk, most = Desk(store, limits=limits), limits.alarms_per_group
    await desk.applications.create("web")
    created = await desk.groups.create("web", "live", options=alarmed(most))
    assert len(created.group.options.alarms.alarms) == most
    with pytest.raises(
        LimitExceeded, match=f"{most + 1} alarms are given, at most {most} are allowed"
    ) as refused:
        await desk.groups.update("web", "live", options=alarmed(most + 1))
    assert refused.value.reason == "AlarmsLimitExceededException"


@pytest.mark.req("CP-362")
def test_more_than_fifty_is_no_setting() -> None:
    with pytest.raises(SetupError, match=r"limits\.alarms_per_group.*50"):
        load(None, {}, {"data_dir": "/nowhere", "limits.alarms_per_group": "51"})
