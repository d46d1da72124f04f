"""A burst is let through, a flood is held to its pace."""

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.links.pace import Pace
from tests.support.clock import START


def test_a_burst_and_what_keeps_the_pace_never_wait() -> None:
    pace = Pace(burst=100, per_second=10)
    assert {pace.take(START) for _ in range(100)} == {START}
    for number in range(1, 500):
        now = Instant(START + 100 * number)
        assert pace.take(now) == now


def test_a_flood_goes_on_at_the_pace() -> None:
    pace = Pace(burst=100, per_second=10)
    now = START
    for _ in range(1_100):
        now = pace.take(now)
    assert now == START + 100_000


def test_silence_is_not_saved_up() -> None:
    pace = Pace(burst=10, per_second=10)
    pace.take(START)
    later = Instant(START + 3_600_000)
    for _ in range(10):
        assert pace.take(later) == later
    assert pace.take(later) > later
