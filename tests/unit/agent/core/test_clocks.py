"""What a difference between two clocks means, and what people are told of it."""

from __future__ import annotations

import pytest

from ferryman_agent.core.clocks import Clocks, remark


@pytest.mark.req("AG-091")
def test_a_minute_is_a_warning_and_five_are_another_thing() -> None:
    assert [Clocks.of(ms) for ms in (None, 0, 60_000, -60_000)] == [Clocks.AGREE] * 4
    assert [Clocks.of(ms) for ms in (60_001, -300_000)] == [Clocks.DIFFER] * 2
    assert [Clocks.of(ms) for ms in (300_001, -86_400_000)] == [Clocks.CONTRADICT] * 2
    assert remark(1_000) is None
    assert "is 61 s ahead of" in str(remark(61_000))
    assert "CLOCK_WRONG" not in str(remark(61_000))
    assert "CLOCK_WRONG: this machine's clock is 600 s behind" in str(remark(-600_000))
