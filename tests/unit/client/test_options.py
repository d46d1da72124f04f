"""What options and files mean, and what is said about those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client import errors
from ferryman_client.cli.configs import parse_duration, parse_minimum
from ferryman_client.cli.groupfile import read_group_file
from ferryman_client.cli.places import url_location
from ferryman_client.cli.selections import auto_rollback, selection, tag_filter
from ferryman_client.cli.session import exit_code
from ferryman_client.cli.tokens import tag_pattern

COUNT = inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_HOST_COUNT
PERCENT = inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_FLEET_PERCENT


@pytest.mark.parametrize(
    "text, kind, value", [("3", COUNT, 3), ("75%", PERCENT, 75), (" 0 ", COUNT, 0), ("-1%", PERCENT, -1)]
)
def test_minimum_is_count_or_share(
    text: str, kind: inventory_pb2.MinimumHealthyHostsType.ValueType, value: int
) -> None:
    assert parse_minimum(text) == inventory_pb2.MinimumHealthyHosts(type=kind, value=value)


@pytest.mark.parametrize(
    "text, seconds", [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_duration_has_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "7.5%", "3 %%", "10 minutes"])
def test_what_is_no_number_ends_with_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for parse in (parse_minimum, parse_duration):
        with pytest.raises(typer.Exit) as ended:
            parse(text)
        assert ended.value.exit_code == 2
        assert f"'{text}'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["9" * 30, "9" * 10 + "%", "9" * 30 + "d"])
def test_more_than_the_wire_has_room_for_is_wrong_usage(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        (parse_duration if text.endswith("d") else parse_minimum)(text)
    assert ended.value.exit_code == 2
    assert f"'{text}' is too much" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, kind, key, value",
    [
        ("app=web", inventory_pb2.TAG_FILTER_TYPE_KEY_AND_VALUE, "app", "web"),
        ("app=a=b", inventory_pb2.TAG_FILTER_TYPE_KEY_AND_VALUE, "app", "a=b"),
        ("app", inventory_pb2.TAG_FILTER_TYPE_KEY_ONLY, "app", ""),
        ("=web-*", inventory_pb2.TAG_FILTER_TYPE_VALUE_ONLY, "", "web-*"),
    ],
)
def test_tag_filter_is_by_what_is_given(
    text: str, kind: inventory_pb2.TagFilterType.ValueType, key: str, value: str
) -> None:
    assert tag_filter(text) == inventory_pb2.TagFilter(type=kind, key=key, value=value)


def test_tags_and_tag_set_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(typer.Exit) as ended:
        selection(["a=b"], tmp_path / "set.yml")
    assert ended.value.exit_code == 2


def test_group_file_gives_the_same_as_the_options(tmp_path: Path) -> None:
    file = tmp_path / "group.yml"
    file.write_text(
        "config: Half\nrollbackOn: [failure, stop]\n"
        "tagSet:\n- - {Key: app, Value: web}\n  - {Key: app, Type: KEY_ONLY}\n- - {Value: blue, Type: value_only}\n"
    )
    request = read_group_file(file)
    assert request.deployment_config_name == "Half"
    assert request.auto_rollback == auto_rollback("failure,stop")
    assert [len(group.filters) for group in request.selection.tag_set.groups] == [2, 1]
    assert request.selection.tag_set.groups[1].filters[0].type == inventory_pb2.TAG_FILTER_TYPE_VALUE_ONLY


@pytest.mark.parametrize(
    "text", ["confg: x", "tags: [a]\ntagSet: [[{Key: a}]]", "[", "tagSet: [[{Key: a, Type: ANY}]]"]
)
def test_wrong_group_file_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "group.yml"
    file.write_text(text)
    with pytest.raises(typer.Exit) as ended:
        read_group_file(file)
    assert ended.value.exit_code == 2
    assert "group.yml" in capsys.readouterr().err


def test_unknown_rollback_reason_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        auto_rollback("failure,rain")
    assert "'rain'" in capsys.readouterr().err


def test_archive_kind_of_a_url_is_by_its_path() -> None:
    location = url_location("https://example.net/a.tar.gz?x=.zip", "AB")
    assert location.url.bundle_type == types_pb2.BUNDLE_TYPE_TGZ
    assert location.url.sha256 == "ab"
    with pytest.raises(typer.Exit):
        url_location("https://example.net/a")


@pytest.mark.parametrize(
    "problem, code",
    [
        (errors.DeniedError("x", "x", {}), 4),
        (errors.NotFoundError("x", "x", {}), 5),
        (errors.ConflictError("x", "x", {}), 5),
        (errors.Unreachable("x"), 6),
        (errors.InvalidRequest("x", "x", {}), 2),
        (errors.ProfileError("x"), 2),
        (errors.CoordinatorFault("x"), 1),
    ],
)
def test_exit_codes_are_those_promised(problem: errors.ClientError, code: int) -> None:
    assert exit_code(problem) == code


@pytest.mark.parametrize(
    "text, key, value",
    [("role=web*", "role", "web*"), ("role", "role", "*"), ("role=", "role", ""), ("*=*", "*", "*")],
)
def test_a_pattern_of_tags_without_a_value_means_any(text: str, key: str, value: str) -> None:
    found = tag_pattern(text)
    assert (found.key, found.value) == (key, value)
