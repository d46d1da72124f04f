"""The wire and the model say the same: every word has its twin, every value comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.channel import MESSAGE_LIMIT
from ferryman.v1 import deployments_pb2, inventory_pb2, types_pb2
from ferryman_coordinator.api.mapping import deployments, values, words
from ferryman_coordinator.api.mapping.selections import selection_from, selection_to
from ferryman_coordinator.api.mapping.words import Words
from ferryman_coordinator.core.inventory import Deployment, Facts
from ferryman_coordinator.core.lifecycle import in_place_path
from ferryman_coordinator.core.model import (
    ApplicationId,
    AutoRollback,
    BundleLocation,
    BundleType,
    Creator,
    DeploymentId,
    DeploymentStatus,
    Diagnostics,
    FileExistsBehavior,
    GroupId,
    HealthyHostsType,
    InstanceId,
    Instant,
    LifecycleErrorCode,
    MinimumHealthyHosts,
    ResourceUsage,
    RollbackEvent,
    RolloutRecord,
    RolloutSpec,
    TargetRecord,
    TargetStatus,
    Timers,
    UrlLocation,
    ZonalConfig,
)
from ferryman_coordinator.core.tags import Selection, TagFilter
from ferryman_coordinator.engine.updates import ScriptUpdate, Snapshot, TargetView
from ferryman_coordinator.errors import Invalid

ALL_WORDS = {name: value for name, value in vars(words).items() if isinstance(value, Words)}


@pytest.mark.parametrize("vocabulary", ALL_WORDS.values(), ids=ALL_WORDS)
def test_every_word_comes_back(vocabulary: Words[Any, Any]) -> None:
    for word in vocabulary._wire:
        assert vocabulary.word(vocabulary.wire(word)) is word


@pytest.mark.parametrize("vocabulary", ALL_WORDS.values(), ids=ALL_WORDS)
def test_what_is_not_said_or_not_known_is_refused(vocabulary: Words[Any, Any]) -> None:
    for number in (0, 9_999):
        with pytest.raises(Invalid) as caught:
            vocabulary.word(number)
        assert caught.value.reason == vocabulary._refusal


def test_no_word_of_the_wire_is_without_a_twin() -> None:
    for vocabulary, wire in (
        (words.deployment_statuses, types_pb2.DeploymentStatus),
        (words.target_statuses, types_pb2.TargetStatus),
        (words.event_statuses, types_pb2.LifecycleEventStatus),
        (words.error_codes, types_pb2.LifecycleErrorCode),
        (words.traffic_routing, inventory_pb2.TrafficRoutingType),
    ):
        assert len(vocabulary._wire) == len(wire.keys()) - 1


text = st.text(max_size=20)
locations = st.one_of(
    st.builds(
        BundleLocation, sha256=text, size_bytes=st.integers(0, 2**50), bundle_type=st.sampled_from(BundleType)
    ),
    st.builds(UrlLocation, url=text, bundle_type=st.sampled_from(BundleType), sha256=text),
)
rollbacks = st.builds(
    AutoRollback, enabled=st.booleans(), events=st.frozensets(st.sampled_from(RollbackEvent))
)
minimums = st.builds(
    MinimumHealthyHosts, type=st.sampled_from(HealthyHostsType), value=st.integers(-(2**40), 2**40)
)
counts = st.none() | st.integers(0, 2**50)
usages = st.builds(
    ResourceUsage,
    peak_memory_bytes=counts,
    cpu_ms=counts,
    read_bytes=counts,
    written_bytes=counts,
    out_of_memory_kills=st.none() | st.integers(0, 2**20),
)
diagnostics = st.builds(
    Diagnostics,
    error_code=st.sampled_from(LifecycleErrorCode),
    script_name=text,
    message=text,
    log_tail=text,
    exit_status=st.none() | st.integers(-10, 255),
    signal=st.none() | st.integers(0, 64),
    duration_ms=st.integers(0, 2**40),
    usage=st.none() | usages,
    dropped_lines=st.integers(0, 2**40),
    script_index=st.none() | st.integers(0, 100),
    revision_deployment_id=text,
)
facts = st.builds(
    Facts, host_name=text, addresses=st.lists(text, max_size=3).map(tuple), memory_bytes=st.integers(0, 2**60)
)
filters = st.builds(TagFilter.of, st.text(min_size=1, max_size=5), st.text(max_size=5))
selections = st.builds(
    Selection,
    tag_filters=st.lists(filters, max_size=3).map(tuple),
    tag_set=st.lists(st.lists(filters, max_size=2).map(tuple), max_size=3).map(tuple),
)
zonals = st.builds(
    ZonalConfig,
    first_zone_monitor_seconds=st.none() | st.integers(0, 10_000),
    monitor_seconds=st.none() | st.integers(0, 10_000),
    minimum_per_zone=minimums,
)


@given(locations)
def test_locations_come_back(location: BundleLocation | UrlLocation) -> None:
    assert values.location_from(values.location_to(location)) == location


def test_no_location_is_none() -> None:
    assert values.location_from(types_pb2.RevisionLocation()) is None


@given(rollbacks, minimums, facts, selections, zonals)
def test_settings_come_back(
    rollback: AutoRollback,
    minimum: MinimumHealthyHosts,
    host: Facts,
    selection: Selection,
    zonal: ZonalConfig,
) -> None:
    assert values.rollback_from(values.rollback_to(rollback)) == rollback
    assert values.minimum_from(values.minimum_to(minimum)) == minimum
    assert values.facts_from(values.facts_to(host)) == host
    assert selection_from(selection_to(selection)) == selection
    assert values.zonal_from(values.zonal_to(zonal)) == zonal


@given(diagnostics)
def test_diagnostics_come_back(one: Diagnostics) -> None:
    assert values.diagnostics_from(values.diagnostics_to(one)) == one


@pytest.mark.req("CP-257")
def test_of_a_long_log_the_last_four_kilobytes_are_kept() -> None:
    tail = values.diagnostics_from(types_pb2.Diagnostics(log_tail="ä" * 3_000 + "end", message="m" * 100_000))
    assert tail.log_tail.endswith("äend")
    assert 4_090 <= len(tail.log_tail.encode()) <= 4_096
    assert len(tail.message) == 16 * 1024


def deployment(targets: int, overview: dict[TargetStatus, int] | None = None) -> Snapshot:
    spec = RolloutSpec(
        deployment_id=DeploymentId("d-AAAAAAAAA"),
        application_name="shop",
        group_name="web",
        creator=Creator.USER,
        revision=BundleLocation(sha256="ab" * 32, size_bytes=1, bundle_type=BundleType.ZIP),
        config_name="CodeDeployDefault.OneAtATime",
        minimum=MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=1),
        zonal=None,
        path=in_place_path(),
        ignore_application_stop_failures=False,
        file_exists_behavior=FileExistsBehavior.DISALLOW,
        update_outdated_instances_only=False,
        auto_rollback=AutoRollback(),
        last_good=None,
        timers=Timers(),
        max_targets=1,
    )
    record = RolloutRecord(status=DeploymentStatus.IN_PROGRESS, created_at=Instant(1))
    whole = Deployment(
        spec=spec,
        record=record,
        application_id=ApplicationId("a"),
        application_name="shop",
        group_id=GroupId("g"),
        group_name="web",
        description="",
        overview=overview or {},
    )
    views = tuple(
        TargetView(
            record=TargetRecord(
                instance_id=InstanceId(f"mi-{number:08}"),
                instance_name=f"web-{number}",
                zone="z",
                ordinal=number,
                status=TargetStatus.PENDING,
                was_healthy=True,
                updated_at=Instant(1),
            ),
            events=(),
        )
        for number in range(targets)
    )
    return Snapshot(sequence=9, at=Instant(5), deployment=whole, targets=views)


def test_a_small_snapshot_is_one_message() -> None:
    (message,) = deployments.updates_to(DeploymentId("d-AAAAAAAAA"), deployment(3))
    assert (message.sequence, message.at, len(message.snapshot.targets)) == (9, 5, 3)


def test_a_snapshot_too_large_for_a_message_comes_in_parts_of_which_the_last_one_counts() -> None:
    snapshot = deployment(50_000)
    messages = list(deployments.updates_to(DeploymentId("d-AAAAAAAAA"), snapshot))
    assert max(message.ByteSize() for message in messages) < MESSAGE_LIMIT
    assert [message.WhichOneof("change") for message in messages[:2]] == ["snapshot", "target"]
    assert {message.sequence for message in messages[:-1]} == {0}
    assert messages[-1].sequence == 9
    ids = [target.instance_id for target in messages[0].snapshot.targets]
    ids += [message.target.instance_id for message in messages[1:]]
    assert ids == [target.record.instance_id for target in snapshot.targets]


@pytest.mark.req("CP-111")
def test_the_six_counters_add_up_to_the_number_of_targets() -> None:
    overview = {status: number for number, status in enumerate(TargetStatus, start=1)}
    shown = deployments.deployment_to(deployment(0, overview).deployment).overview
    assert sum(getattr(shown, field.name) for field in shown.DESCRIPTOR.fields) == sum(overview.values())
    assert shown.in_progress == overview[TargetStatus.IN_PROGRESS] + overview[TargetStatus.UNKNOWN]


def test_a_script_that_starts_leaves_what_is_known_of_its_event_alone() -> None:
    update = ScriptUpdate(
        sequence=3, at=Instant(1), instance_id=InstanceId("i"), lifecycle_event="Install", script_name="a.sh"
    )
    (message,) = deployments.updates_to(DeploymentId("d"), update)
    assert message.target_event.running_script == "a.sh"
    assert not message.target_event.HasField("lifecycle_event")


def test_what_is_absent_stays_absent() -> None:
    message = deployments.deployment_to(deployment(0).deployment)
    for name in ("started_at", "completed_at", "error", "rollback", "previous_revision"):
        assert not message.HasField(name), name


@pytest.mark.req("CP-466")
def test_nothing_that_is_read_of_a_deployment_has_room_for_an_app_spec() -> None:
    answers = (
        deployments_pb2.GetDeploymentResponse,
        deployments_pb2.BatchGetDeploymentsResponse,
        deployments_pb2.ListDeploymentsResponse,
        deployments_pb2.GetDeploymentTargetResponse,
        deployments_pb2.WatchDeploymentResponse,
        inventory_pb2.GetDeploymentGroupResponse,
    )
    waiting, seen = [answer.DESCRIPTOR for answer in answers], set()
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            if field.message_type is not None:
                waiting.append(field.message_type)
            assert not {"content", "appspec", "raw"} & set(
                field.name.replace("app_spec", "appspec").split("_")
            )
    assert "ferryman.v1.BundleLocation" in seen
    bundle = values.bundle_to(BundleLocation(sha256="ab" * 32, size_bytes=1, bundle_type=BundleType.ZIP))
    assert bundle.sha256 == "ab" * 32
