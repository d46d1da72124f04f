"""How long an agent that died stays away."""

from __future__ import annotations

import pytest

from ferryman_agent.core.respawn import Respawn


@pytest.mark.req("AG-024", "V2-058")
def test_the_pauses_grow_to_a_minute_and_begin_anew_after_a_minute_of_life() -> None:
    respawn = Respawn()
    assert [respawn.after(0.0) for _ in range(7)] == [5, 10, 20, 40, 60, 60, 60]
    assert respawn.after(59.9) == 60
    assert respawn.after(60.0) == 5
    assert respawn.after(1.0) == 10
