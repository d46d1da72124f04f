"""One rate for all downloads of an agent."""

from __future__ import annotations

from ferryman_agent.bundles.transport import SharedRate


class Rated:
    def __init__(self) -> None:
        self.rates: list[float | None] = []

    def set_rate(self, bytes_per_second: float | None) -> None:
        self.rates.append(bytes_per_second)


def test_it_is_divided_among_those_that_go_on() -> None:
    shared, one, two = SharedRate(900.0), Rated(), Rated()
    with shared.share(one):
        with shared.share(two):
            shared.change(300.0)
        shared.change(None)
    assert one.rates == [900, 450, 150, 300, None]
    assert two.rates == [450, 150]


def test_without_a_rate_nobody_is_bound() -> None:
    shared, one = SharedRate(), Rated()
    with shared.share(one):
        assert one.rates == [None]
