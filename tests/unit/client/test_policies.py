"""Roles as files: policies of the form that people have already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from ferryman.v1 import identity_pb2 as pb
from ferryman_client.cli.policies import policy_of, read_policy

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Action": ["codedeploy:Create*"],
            "Resource": ["deploymentgroup:*/prod"],
            "Condition": {
                "IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]},
                "DateGreaterThanEquals": {"aws:CurrentTime": "2030-12-20T00:00:00.000Z"},
                "DateLessThan": {"aws:CurrentTime": "2031-01-02T00:00:00.000Z"},
                "Bool": {"aws:SecureTransport": "true"},
                "StringEquals": {"ferryman:DailyHours": "08:30-18:00"},
            },
        },
        {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]},
    ],
}


def test_a_policy_is_read_and_shown_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "role.json"
    file.write_text(json.dumps(POLICY))
    statements = read_policy(file)
    assert [one.effect for one in statements] == [pb.EFFECT_DENY, pb.EFFECT_ALLOW]
    hours = statements[0].conditions.daily_hours
    assert (hours.first_minute, hours.last_minute) == (510, 1080)
    assert policy_of(statements) == POLICY


def test_one_statement_and_single_texts_will_do(tmp_path: Path) -> None:
    file = tmp_path / "role.yml"
    file.write_text("Statement: {Effect: Allow, Action: 'codedeploy:Get*'}\n")
    (statement,) = read_policy(file)
    assert (list(statement.actions), list(statement.resources)) == (["codedeploy:Get*"], ["*"])


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("[", "neither JSON nor YAML"),
        ("a: b", "no policy"),
        ("Statement: []", "no policy"),
        ("Statement: [x]", "no mapping"),
        ("Statement: {Effect: Maybe, Action: x}", "Effect of Allow or Deny"),
        ("Statement: {Effect: Allow, Action: x, NotResource: y}", "has NotResource"),
        ("Statement: {Effect: Allow, Action: 5}", "Action is a text"),
        (
            "Statement: {Effect: Allow, Action: x, Condition: {Bool: {a: b}}}",
            "condition Bool of a is not known",
        ),
        (
            "Statement: {Effect: Allow, Action: x, Condition: {DateLessThan: {'aws:CurrentTime': soon}}}",
            "soon is no time",
        ),
        (
            "Statement: {Effect: Allow, Action: x, Condition: {StringEquals: {'ferryman:DailyHours': all}}}",
            "all are no hours",
        ),
    ],
)
def test_what_is_no_policy_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    file = tmp_path / "role.yml"
    file.write_text(text)
    with pytest.raises(typer.Exit) as left:
        read_policy(file)
    assert left.value.exit_code == 2
    assert complaint in capsys.readouterr().err.replace("\n", " ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        read_policy(tmp_path / "none.json")
    assert "cannot read" in capsys.readouterr().err
