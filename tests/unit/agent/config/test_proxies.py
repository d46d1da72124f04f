"""Which hosts a proxy is taken to."""

from __future__ import annotations

import pytest

from ferryman_agent.config.proxies import proxy_for
from ferryman_agent.config.values import ProxyAddress

PROXY = ProxyAddress.parse("http://proxy:3128")


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "::1", "[::1]", "a.corp", "b.a.corp", "A.CORP.", "10.1.2.3", "x.sub.org"],
)
def test_no_proxy_is_taken_to(host: str) -> None:
    assert proxy_for(PROXY, ["a.corp", "10.0.0.0/8", "*.sub.org", "::2"], host) is None


@pytest.mark.parametrize("host", ["corp", "xa.corp", "11.1.2.3", "fe80::1", "suborg", "10.evil.example"])
def test_the_proxy_is_taken_to(host: str) -> None:
    assert proxy_for(PROXY, ["a.corp", "10.0.0.0/8", ".sub.org", "", "nonsense/3"], host) == PROXY


def test_a_star_is_everything_and_no_proxy_is_none() -> None:
    assert proxy_for(PROXY, ["*"], "far.example") is None
    assert proxy_for(None, [], "far.example") is None
