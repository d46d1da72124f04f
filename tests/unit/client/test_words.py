"""How wire messages are spelt for people and scripts."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import EnumDescriptor

from ferryman.v1 import agents_pb2, deployments_pb2, inventory_pb2, tokens_pb2, types_pb2
from ferryman_client.cli.words import (
    enum_number,
    enum_word,
    healthy_hosts,
    iso_time,
    plain,
    rollback_text,
    selection_text,
    usage_text,
    words_of,
)

ENUMS = [
    enum
    for module in (types_pb2, inventory_pb2, deployments_pb2, agents_pb2, tokens_pb2)
    for enum in module.DESCRIPTOR.enum_types_by_name.values()
]


@pytest.mark.parametrize(
    "enum, words",
    [
        (
            types_pb2.DeploymentStatus.DESCRIPTOR,
            ["Created", "Queued", "InProgress", "Baking", "Ready", "Succeeded", "Failed", "Stopped"],
        ),
        (
            types_pb2.TargetStatus.DESCRIPTOR,
            ["Pending", "InProgress", "Ready", "Succeeded", "Failed", "Skipped", "Unknown"],
        ),
        (
            types_pb2.LifecycleErrorCode.DESCRIPTOR,
            [
                "Success",
                "ScriptMissing",
                "ScriptNotExecutable",
                "ScriptTimedOut",
                "ScriptFailed",
                "UnknownError",
            ],
        ),
        (types_pb2.ComputePlatform.DESCRIPTOR, ["Server", "Lambda", "ECS"]),
        (types_pb2.BundleType.DESCRIPTOR, ["zip", "tar", "tgz"]),
        (types_pb2.FileExistsBehavior.DESCRIPTOR, ["DISALLOW", "OVERWRITE", "RETAIN"]),
        (
            inventory_pb2.MinimumHealthyHostsType.DESCRIPTOR,
            ["HOST_COUNT", "FLEET_PERCENT", "MOST_CONCURRENCY"],
        ),
        (inventory_pb2.TagFilterType.DESCRIPTOR, ["KEY_ONLY", "VALUE_ONLY", "KEY_AND_VALUE"]),
    ],
)
def test_words_are_those_of_codedeploy(enum: EnumDescriptor, words: list[str]) -> None:
    assert words_of(enum) == words


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.name)
def test_every_word_leads_back_to_its_number(enum: EnumDescriptor) -> None:
    for number in enum.values_by_number:
        word = enum_word(enum, number)
        assert (word is None) == (number == 0)
        if word is not None:
            assert enum_number(enum, word.swapcase()) == number
    assert enum_number(enum, "no such word") is None


def test_plain_message_has_every_field_and_null_for_absent_ones() -> None:
    shown = plain(deployments_pb2.Deployment(deployment_id="d-1", created_at=1_500))
    assert set(shown) == {field.json_name for field in deployments_pb2.Deployment.DESCRIPTOR.fields}
    assert shown["deploymentId"] == "d-1"
    assert shown["createdAt"] == "1970-01-01T00:00:01.500Z"
    assert shown["startedAt"] is None
    assert shown["status"] is None
    assert shown["statusMessages"] == []


def test_time_is_utc_with_milliseconds() -> None:
    assert iso_time(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"


def test_selection_reads_as_a_condition() -> None:
    web = inventory_pb2.TagFilter(type=inventory_pb2.TAG_FILTER_TYPE_KEY_AND_VALUE, key="app", value="web")
    any_zone = inventory_pb2.TagFilter(type=inventory_pb2.TAG_FILTER_TYPE_KEY_ONLY, key="zone")
    blue = inventory_pb2.TagFilter(type=inventory_pb2.TAG_FILTER_TYPE_VALUE_ONLY, value="blue")
    flat = inventory_pb2.Selection(tag_filters=[web, any_zone])
    groups = [inventory_pb2.TagGroup(filters=[web, any_zone]), inventory_pb2.TagGroup(filters=[blue])]
    nested = inventory_pb2.Selection(tag_set=inventory_pb2.TagSet(groups=groups))
    assert selection_text(flat) == "app=web or zone"
    assert selection_text(nested) == "(app=web or zone) and (=blue)"
    assert selection_text(inventory_pb2.Selection()) == "none"


@pytest.mark.parametrize(
    "kind, value, text",
    [
        (inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_HOST_COUNT, 3, "3"),
        (inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_FLEET_PERCENT, 75, "75%"),
        (inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_MOST_CONCURRENCY, 1, "1 at a time"),
    ],
)
def test_minimum_is_shown_as_it_is_written(
    kind: inventory_pb2.MinimumHealthyHostsType.ValueType, value: int, text: str
) -> None:
    assert healthy_hosts(inventory_pb2.MinimumHealthyHosts(type=kind, value=value)) == text


def test_rollback_events_are_those_of_the_option() -> None:
    both = [types_pb2.ROLLBACK_EVENT_DEPLOYMENT_FAILURE, types_pb2.ROLLBACK_EVENT_DEPLOYMENT_STOP_ON_REQUEST]
    assert rollback_text(inventory_pb2.AutoRollback(enabled=True, events=both)) == "failure, stop"
    assert rollback_text(inventory_pb2.AutoRollback(enabled=False, events=both)) == "none"


@pytest.mark.parametrize(
    "usage, text",
    [
        ({}, "-"),
        ({"cpu_ms": 1234, "peak_memory_bytes": 48 * 2**20}, "1.2 s CPU, 48 MiB"),
        ({"cpu_ms": 0}, "0.0 s CPU"),
        ({"peak_memory_bytes": 1536 * 2**20, "read_bytes": 1000, "written_bytes": 1}, "1.5 GiB, 1 KiB I/O"),
        ({"cpu_ms": 5, "out_of_memory_kills": 2}, "0.0 s CPU, 2 out of memory"),
        ({"peak_memory_bytes": 1023 * 2**20}, "1023 MiB"),
    ],
)
def test_what_scripts_took_is_short(usage: dict[str, int], text: str) -> None:
    assert usage_text(types_pb2.ResourceUsage(**usage)) == text


def test_what_scripts_took_has_stable_names_in_json() -> None:
    shown = plain(types_pb2.Diagnostics(usage=types_pb2.ResourceUsage(cpu_ms=5), dropped_lines=3))
    assert shown["usage"] == {
        "peakMemoryBytes": None,
        "cpuMs": 5,
        "readBytes": None,
        "writtenBytes": None,
        "outOfMemoryKills": None,
    }
    assert shown["droppedLines"] == 3
