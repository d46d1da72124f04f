"""Signatures, pauses, addresses and the mapping of targets to sinks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_coordinator.config.sinks import Sink, SinkKind, mistakes
from ferryman_coordinator.config.values import Duration
from ferryman_coordinator.notices.addresses import refusal
from ferryman_coordinator.notices.pauses import pause_ms
from ferryman_coordinator.notices.signature import signature
from ferryman_coordinator.notices.sinks import Sinks
from ferryman_coordinator.notices.webhook import slack_text

ARN = "arn:aws:sns:eu-1:123456789012:"


@pytest.mark.req("CP-380")
def test_each_secret_signs_time_and_body() -> None:
    made = signature([b"new", b"old"], 1_700_000_000, b'{"a":1}')
    first, second = made.split(",")
    assert len(first) == len("v1=") + 64
    assert first != second
    assert signature([b"new"], 1_700_000_000, b'{"a":1}') == first
    assert signature([b"new"], 1_700_000_001, b'{"a":1}') != first
    assert signature([b"new"], 1_700_000_000, b'{"a":2}') != first


@given(st.integers(1, 10_000), st.integers(1_000, 3_600_000), st.floats(0, 1))
def test_pauses_grow_up_to_the_longest(failures: int, longest: int, draw: float) -> None:
    pause = pause_ms(failures, longest, draw)
    assert 1 <= pause <= longest
    assert pause_ms(failures + 1, longest, draw) >= pause
    assert pause >= min(longest, 1_000 << min(failures - 1, 20)) // 2


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "100.100.100.200",
    ],
)
def test_what_only_the_machine_itself_may_ask_is_refused_unless_allowed(address: str) -> None:
    assert "link-local or metadata" in refusal(address, allow_link_local=False)
    assert refusal(address, allow_link_local=True) == ""


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_what_is_no_address_of_one_host_is_always_refused(address: str) -> None:
    assert refusal(address, allow_link_local=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "8.8.8.8"])
def test_loopback_private_and_public_addresses_are_fine(address: str) -> None:
    assert refusal(address, allow_link_local=False) == ""


@pytest.mark.req("CP-374")
def test_a_target_finds_its_sink_by_name_arn_or_the_longest_pattern() -> None:
    def sink(arn: str = "") -> Sink:
        return Sink(kind=SinkKind.WEBHOOK, url="https://example.org/", arn=arn)

    sinks = Sinks(
        {
            "all": sink("arn:aws:sns:*"),
            "ours": sink(ARN + "*"),
            "ops": sink(ARN + "ops"),
            "plain": sink(),
        }
    )
    assert sinks.name_of(ARN + "ops") == "ops"
    assert sinks.name_of(ARN + "other") == "ours"
    assert sinks.name_of("arn:aws:sns:us-1:1:x") == "all"
    assert sinks.name_of("plain") == "plain"
    assert sinks.name_of("arn:aws:sqs:us-1:1:x") is None
    assert sinks.outlet("nobody") is None
    assert sinks.outlet(ARN + "ops") is sinks.outlet("ops")


def test_a_line_of_text_mentions_nobody() -> None:
    assert slack_text("<!channel> & <@U1>") == "&lt;!channel&gt; &amp; &lt;@U1&gt;"


@pytest.mark.parametrize(
    "settings, mistake",
    [
        ({"url": ""}, "is missing"),
        ({"url": "http://example.org/"}, "in clear text"),
        ({"url": "ftp://example.org/"}, "is no address"),
        ({"url": "https://user:secret@example.org/"}, "would show up in logs"),
        ({"url": "https://example.org/a b"}, "holds blanks"),
        ({"url": "https://example.org:99999/"}, "cannot be read"),
        ({"url": "https://e.org/", "url_file": "/x"}, "give the address once"),
        ({"url": "https://e.org/", "timeout": Duration(1)}, "is not between"),
        ({"url": "https://e.org/", "proxy": "nowhere"}, "is no address"),
        ({"kind": SinkKind.SLACK, "url": "https://e.org/", "secret_file": "/x"}, "is not signed"),
    ],
)
def test_settings_that_cannot_be_right(settings: dict[str, object], mistake: str) -> None:
    sink = Sink(**{"kind": SinkKind.WEBHOOK, **settings})  # type: ignore[arg-type]  # as the table says
    ((_, found),) = mistakes({"ops": sink})
    assert mistake in found


def test_settings_that_are_right() -> None:
    sinks = {
        "a": Sink(kind=SinkKind.WEBHOOK, url="http://127.0.0.1:9/x"),
        "b": Sink(kind=SinkKind.WEBHOOK, url="http://example.org/", allow_http=True),
        "c": Sink(kind=SinkKind.SNS),
        "d": Sink(kind=SinkKind.SLACK, url_file="/run/secrets/slack"),
    }
    assert not list(mistakes(sinks))
    twice = {"a": Sink(kind=SinkKind.SNS, arn=ARN + "x"), "b": Sink(kind=SinkKind.SNS, arn=ARN + "x")}
    assert ("b.arn", f"{ARN}x is that of sink a already") in list(mistakes(twice))
    assert "must not be empty" in next(mistakes({"arn:x": Sink(kind=SinkKind.SNS)}))[1]
