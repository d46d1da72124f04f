"""Whoever tries tokens is slowed down, by address, for a minute."""

import pytest

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import LimitExceeded
from ferryman_coordinator.identity.failures import FailureLimiter

NOW = Instant(1_700_000_000_000)


def limiter(failures: int) -> FailureLimiter:
    made = FailureLimiter(limit=3)
    for port in range(failures):
        made.failed(f"ipv4:10.0.0.1:{port}", NOW)
    return made


def test_a_few_failures_are_no_matter() -> None:
    limiter(2).check("ipv4:10.0.0.1:99", NOW)


def test_too_many_close_the_door_for_the_rest_of_the_minute() -> None:
    closed = limiter(3)
    with pytest.raises(LimitExceeded, match="try again in 60 s") as caught:
        closed.check("ipv4:10.0.0.1:99", NOW)
    assert caught.value.reason == "TooManyFailures"
    closed.check("ipv4:10.0.0.1:99", Instant(NOW + 60_000))
    closed.failed("ipv4:10.0.0.1:99", Instant(NOW + 60_000))
    closed.check("ipv4:10.0.0.1:99", Instant(NOW + 60_000))


def test_others_are_not_touched() -> None:
    limiter(3).check("ipv4:10.0.0.2:1", NOW)
    limiter(3).check("ipv6:%5B::1%5D:1", NOW)


def test_memory_is_bounded() -> None:
    made = FailureLimiter(limit=1)
    for number in range(10_050):
        made.failed(f"ipv4:host-{number}:1", NOW)
    made.check("ipv4:host-0:1", NOW)
    with pytest.raises(LimitExceeded):
        made.check("ipv4:host-10049:1", NOW)
