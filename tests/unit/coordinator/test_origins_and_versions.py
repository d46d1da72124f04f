"""Machines that share an identity, and versions that are too old."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.model import InstanceId
from ferryman_coordinator.links.origins import Origin, Origins
from ferryman_coordinator.links.versions import is_older

ONE = InstanceId("i-1")
A, B, C = Origin("a", "boot-a"), Origin("b", "boot-b"), Origin("a", "boot-c")


@pytest.mark.req("AG-083")
def test_an_origin_that_comes_back_while_another_stands_is_a_second_machine() -> None:
    origins = Origins()
    assert origins.meet(ONE, A, is_connected=False) is None
    assert origins.meet(ONE, A, is_connected=True) is None, "its network was away"
    assert origins.meet(ONE, B, is_connected=True) is None, "it may have been started anew"
    assert origins.meet(ONE, A, is_connected=True) == B
    assert origins.meet(ONE, A, is_connected=True) == B, "and stays out"
    assert origins.meet(ONE, B, is_connected=True) is None
    assert origins.meet(InstanceId("i-2"), A, is_connected=True) is None
    assert origins.meet(ONE, A, is_connected=False) is None, "the other one is gone"
    assert origins.meet(ONE, B, is_connected=True) == A


def test_boots_of_one_machine_and_agents_that_say_nothing_are_no_others() -> None:
    origins = Origins()
    for origin in (A, C, B):
        assert origins.meet(ONE, origin, is_connected=True) is None
    assert origins.meet(ONE, Origin("a", ""), is_connected=True) is None


@pytest.mark.req("AG-033")
@pytest.mark.parametrize(
    "version,minimum,older",
    [
        ("1.7", "", False),
        ("", "", False),
        ("1.7.0", "1.7", False),
        ("1.7", "1.7.0", False),
        ("1.6.9", "1.7", True),
        ("1.10", "1.9", False),
        ("2.0rc1", "2.0", False),
        ("", "0.1", True),
        ("UNKNOWN_VERSION", "0.1", True),
        ("0", "0.1", True),
    ],
)
def test_which_version_is_older(version: str, minimum: str, older: bool) -> None:
    assert is_older(version, minimum) is older
