"""A few hours of a small fleet, every day; the whole day is in `make simulate`."""

from __future__ import annotations

import pytest

from tests.simulation.day import MINUTE, Day, Fate, simulate_day


@pytest.mark.req("CP-430", "CP-426", "CP-375")
async def test_hours_of_deployments_end_as_they_were_meant_to() -> None:
    report = await simulate_day(Day(seed=1, agents=24, groups=3, hours=1, every_ms=5 * MINUTE, reboots=40))

    assert sum(count for (fate, _), count in report.ends.items() if fate is Fate.GOOD) >= 3
    assert report.troubles["restart"] >= 1
    assert report.messages > 50
