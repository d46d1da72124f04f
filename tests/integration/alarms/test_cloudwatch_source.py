"""Alarms of CloudWatch: against moto as a process, and against servers that are none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.alarms.cloudwatch import CloudWatchSource
from ferryman_coordinator.alarms.source import Seen
from ferryman_coordinator.config.alarm_sources import AlarmSourceKind, AlarmSourceSettings
from ferryman_coordinator.config.values import Duration
from ferryman_coordinator.core.model import AlarmState
from ferryman_coordinator.errors import Unreachable
from tests.support.alarm_server import closed_port, serving
from tests.support.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server


def keys(home: Path) -> Path:
    file = home / "aws.keys"
    file.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    return file


def source(url: str, home: Path, **changes: Any) -> CloudWatchSource:
    values: dict[str, Any] = {
        "kind": AlarmSourceKind.CLOUDWATCH,
        "url": url,
        "region": REGION,
        "credentials_file": str(keys(home)),
        **changes,
    }
    return CloudWatchSource("aws", AlarmSourceSettings(**values))


def operator(server: S3Server) -> Any:
    from botocore.session import Session

    return Session().create_client(
        "cloudwatch",
        region_name=REGION,
        endpoint_url=server.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )


def put(client: Any, name: str, state: AlarmState, reason: str = "for a test") -> None:
    client.put_metric_alarm(
        AlarmName=name,
        MetricName="CPUUtilization",
        Namespace="AWS/EC2",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=80.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    client.set_alarm_state(AlarmName=name, StateValue=state.value, StateReason=reason)


@pytest.mark.req("CP-364", "CP-365", "CP-357", "CP-358")
async def test_states_by_exact_name(s3_server: S3Server, tmp_path: Path) -> None:
    client = operator(s3_server)
    put(client, "web cpu", AlarmState.ALARM, "crossed the threshold of 80")
    put(client, "web/errors", AlarmState.OK)
    put(client, "web-new", AlarmState.INSUFFICIENT_DATA)
    answers = await source(s3_server.url, tmp_path).read(
        {"web cpu", "web/errors", "web-new", "Web CPU", "no"}
    )
    assert {name: answer.state for name, answer in answers.items() if isinstance(answer, Seen)} == {
        "web cpu": AlarmState.ALARM,
        "web/errors": AlarmState.OK,
        "web-new": AlarmState.INSUFFICIENT_DATA,
    }
    alarm = answers["web cpu"]
    assert isinstance(alarm, Seen)
    assert alarm.detail == "crossed the threshold of 80"
    assert alarm.since is not None
    assert alarm.since > 1_700_000_000_000


@pytest.mark.req("CP-364")
async def test_more_than_a_hundred_names_take_more_calls(s3_server: S3Server, tmp_path: Path) -> None:
    client = operator(s3_server)
    names = [f"many-{number:03}" for number in range(130)]
    for name in (names[0], names[-1]):
        put(client, name, AlarmState.ALARM)
    it = source(s3_server.url, tmp_path)
    assert set(await it.read(names)) == {names[0], names[-1]}
    assert {names[0], names[-1]} <= set(await it.names())


async def test_keys_are_read_again_when_their_file_has_changed(s3_server: S3Server, tmp_path: Path) -> None:
    it = source(s3_server.url, tmp_path)
    await it.read({"no"})
    file = tmp_path / "aws.keys"
    file.unlink()
    with pytest.raises(Unreachable, match="No such file"):
        await it.read({"no"})
    file = keys(tmp_path)
    os.utime(file, ns=(1, 1))
    assert await it.read({"no"}) == {}


async def test_without_keys_it_says_so(s3_server: S3Server, tmp_path: Path) -> None:
    it = source(s3_server.url, tmp_path)
    (tmp_path / "aws.keys").write_text("[other]\naws_access_key_id = A\naws_secret_access_key = B\n")
    with pytest.raises(Unreachable, match="(?i)credentials"):
        await it.read({"no"})


async def test_nobody_there_and_somebody_else(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="cannot ask http://127.0.0.1"):
        await source(f"http://127.0.0.1:{closed_port()}", tmp_path).read({"cpu"})
    async with serving() as server:
        server.says("/", b"<html>busy</html>", 500)
        with pytest.raises(Unreachable, match="refuses: 500"):
            await source(server.base, tmp_path).read({"cpu"})
        server.hangs("/")
        with pytest.raises(Unreachable, match="(?i)timeout"):
            await source(server.base, tmp_path, timeout=Duration(2_500)).read({"cpu"})
