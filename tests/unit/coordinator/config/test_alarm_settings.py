"""Settings of alarm sources: read with their order, and every mistake named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_coordinator.config import load
from ferryman_coordinator.config.alarm_sources import AlarmSourceKind
from ferryman_coordinator.config.schema import Alarms
from ferryman_coordinator.errors import SetupError

GOOD = """\
alarms:
  poll_interval: 5s
  sources:
    zeus:
      kind: prometheus
      url: https://prometheus.example.org:9090
      token_file: /etc/ferryman/prometheus.token
      queries: {hot: temperature > 80}
    amgr: {kind: alertmanager, token_file: /etc/ferryman/amgr.token, alerts: [Burning], watchdog: Watchdog}
    hooks: {kind: webhook, token_file: /etc/ferryman/hooks.token}
    web:
      kind: http
      probes:
        shop: {url: "http://shop.internal/health", field: checks.0.load, above: 0.9}
    aws: {kind: cloudwatch, region: eu-central-1, insufficient_data: unreadable}
"""


def read(tmp_path: Path, text: str) -> Alarms:
    file = tmp_path / "coordinator.yml"
    file.write_text(text)
    return load(file, {}, {"data_dir": "/nowhere"}).alarms


def test_sources_keep_their_order(tmp_path: Path) -> None:
    alarms = read(tmp_path, GOOD)
    assert list(alarms.sources) == ["zeus", "amgr", "hooks", "web", "aws"]
    assert alarms.sources["web"].probes["shop"].above == 0.9
    assert alarms.sources["aws"].kind is AlarmSourceKind.CLOUDWATCH
    assert alarms.poll_interval == 5_000


@pytest.mark.req("CP-363", "PF-205")
@pytest.mark.parametrize("interval", ["16s", "999ms"])
def test_polls_are_at_most_15_s_apart(tmp_path: Path, interval: str) -> None:
    assert read(tmp_path, "alarms: {}").poll_interval == 10_000
    with pytest.raises(SetupError, match="is not between 1s and 15s"):
        read(tmp_path, f"alarms: {{poll_interval: {interval}}}")


@pytest.mark.parametrize(
    "source, mistake",
    [
        ("x: {kind: nagios}", "x.kind: Invalid enum value"),
        ("x: {}", "x: Object missing required field `kind`"),
        ("x: {kind: prometheus, urll: http://p}", "x: Object contains unknown field `urll`"),
        ("x: {kind: prometheus}", "x.url: is missing"),
        ("x: {kind: prometheus, url: prom:9090}", "x.url: is no address"),
        ("x: {kind: prometheus, url: 'http://prom:9090', token_file: /t}", "x.url: would carry"),
        ("x: {kind: prometheus, url: 'http://a:b@prom:9090'}", "x.url: holds a user or password"),
        ("x: {kind: prometheus, url: 'http://prom:9090', queries: {hot: ' '}}", "x.queries.hot: is empty"),
        ("x: {kind: prometheus, url: 'http://prom:9090', alerts: [A]}", "x.alerts: is nothing that"),
        ("x: {kind: prometheus, url: 'http://prom:9090', timeout: 9s}", "x.timeout: 9s is not between"),
        ("x: {kind: alertmanager, alerts: [A]}", "x.token_file: is missing"),
        ("x: {kind: alertmanager, token_file: /t}", "x.alerts: is missing"),
        ("x: {kind: alertmanager, token_file: /t, alerts: ['']}", "x: the alarm name '' has 0 characters"),
        ("x: {kind: webhook}", "x.token_file: is missing"),
        ("x: {kind: webhook, token_file: /t, url: 'http://h'}", "x.url: is nothing that"),
        ("x: {kind: http}", "x.probes: is missing"),
        ("x: {kind: http, probes: {a: {url: ftp://h}}}", "x.probes.a.url: is no address"),
        ("x: {kind: http, probes: {a: {url: 'http://h', field: b}}}", "x.probes.a: `field` and what"),
        ("x: {kind: http, probes: {a: {url: 'http://h', ok: [b]}}}", "x.probes.a: `field` and what"),
        ("a/b: {kind: cloudwatch}", "a/b: a source's name is plain text without a slash"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, source: str, mistake: str) -> None:
    with pytest.raises(SetupError) as wrong:
        read(tmp_path, f"alarms:\n  sources:\n    {source}\n")
    assert f"alarms.sources.{mistake}" in str(wrong.value)
    assert "coordinator.yml:2" in str(wrong.value)
