"""Values that nothing shows by accident."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.config import parse
from ferryman_agent.config.values import ProxyAddress, Secret
from ferryman_agent.errors import ConfigError

HOME = {"FERRYMAN_AGENT_HOME": "/srv/agent"}


@pytest.mark.req("V2-274")
def test_a_secret_shows_only_on_demand() -> None:
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}", "%s" % secret, str({"k": secret})):  # noqa: UP031 - the old way is one way more
        assert "hunter2" not in shown
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="secret"):
        copy.copy(secret)
    assert secret == Secret("hunter2") != Secret("other")
    assert not Secret("")


@pytest.mark.req("AG-072", "AG-K08", "V2-350")
def test_a_proxy_keeps_its_password_to_itself() -> None:
    proxy = ProxyAddress.parse("http://us%40er:p%2Fw@proxy.corp:3128")
    assert (proxy.host, proxy.port, proxy.user, proxy.password.reveal()) == (
        "proxy.corp",
        3128,
        "us@er",
        "p/w",
    )
    assert str(proxy) == "http://us@er:***@proxy.corp:3128"
    assert "p/w" not in repr(proxy)
    assert ProxyAddress.parse("http://[fe80::1]:8").place == "[fe80::1]:8"
    assert ProxyAddress.parse("http://proxy/").port == 80


@pytest.mark.req("AG-K08", "V2-350")
def test_the_original_s_proxy_is_for_both_ways_out() -> None:
    found = parse(b":proxy_uri: http://u:geheim@p:1\n", "f", HOME)
    assert (
        found.config.proxy.coordinator
        == found.config.proxy.downloads
        == ProxyAddress.parse("http://u:geheim@p:1")
    )
    assert "geheim" not in repr(found)
    assert parse(b"proxy_uri:\n", "f", HOME).config.proxy.coordinator is None
    assert parse(b"proxy_uri: ''\n", "f", HOME).config.proxy.downloads is None


@pytest.mark.req("V2-350", "V2-274")
@pytest.mark.parametrize(
    "text",
    [
        "https://u:geheim@p:1", "socks5://u:geheim@p", "u:geheim@p:1", "http://u:geheim@p:99999", "http://u:geheim@",
        "http://u:geheim@p:0", "http://u:geheim@p:1/x", "http://u:ge#heim@p", "http://u:geheim@p q", "http://u:geheim@[",
    ],
)  # fmt: skip
def test_an_invalid_proxy_is_an_error_that_does_not_show_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"proxy_uri: '{text}'\n".encode(), "f", HOME)
    assert "f:1: proxy_uri: is no proxy address" in str(caught.value)
    assert "heim" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


@given(st.text(max_size=60) | st.from_regex(r"http://[^/]{0,20}@?[a-z0-9:\[\].]{0,20}", fullmatch=True))
def test_no_text_breaks_the_reading_of_a_proxy(text: str) -> None:
    try:
        ProxyAddress.parse(text)
    except ValueError:
        return
