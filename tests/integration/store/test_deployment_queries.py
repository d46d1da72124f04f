"""What the engine stores of deployments comes back as it was, and can be found."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.inventory import Application, ComputePlatform, DeploymentGroup
from ferryman_coordinator.core.messages import EventChanged, RolloutChanged, TargetChanged
from ferryman_coordinator.core.model import (
    ApplicationId,
    AutoRollback,
    BundleType,
    CommandPhase,
    CoordinatorEvent,
    Creator,
    DeploymentId,
    DeploymentStatus,
    Diagnostics,
    ErrorInformation,
    FileExistsBehavior,
    GroupId,
    HealthyHostsType,
    InstanceHealth,
    InstanceId,
    Instant,
    LastGood,
    LifecycleErrorCode,
    MinimumHealthyHosts,
    RevisionHealth,
    RollbackEvent,
    Segment,
    StopRecord,
    TargetStatus,
    UrlLocation,
    ZonalConfig,
)
from ferryman_coordinator.core.tags import Selection, TagFilter
from ferryman_coordinator.errors import ConstraintBroken
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.inventory_records import application_row, group_row
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.queries import groups
from ferryman_coordinator.store.queries.deployments import DeploymentFilter
from ferryman_coordinator.store.records import (
    FeedChange,
    StoredChange,
    attempted_values,
    change_row,
    deployment_row,
    event_row,
    installation_row,
    rollout_values,
    succeeded_values,
    target_row,
)
from ferryman_coordinator.store.store import Store
from tests.support.clock import START
from tests.support.coordinator_records import (
    bundle,
    event_record,
    rollout_record,
    rollout_spec,
    target_record,
)

APP = ApplicationId("app-1")
GROUP = GroupId("group-1")
OTHER = GroupId("group-2")
ONE, TWO, THREE = (DeploymentId(f"d-00000000{number}") for number in (1, 2, 3))


@pytest.fixture
async def inventory(store: Store) -> Store:
    """One application with two groups."""
    batch = Batch()
    application = Application(
        application_id=APP, name="web", compute_platform=ComputePlatform.SERVER, created_at=START
    )
    batch.insert(tables.applications, application_row(application))
    for group_id, name in ((GROUP, "production"), (OTHER, "staging")):
        group = DeploymentGroup(
            group_id=group_id,
            application_id=APP,
            application_name="web",
            name=name,
            config_name="CodeDeployDefault.OneAtATime",
            selection=Selection(tag_filters=(TagFilter.of("role", "web"),)),
            auto_rollback=AutoRollback(),
            created_at=START,
        )
        batch.insert(tables.deployment_groups, group_row(group))
    await store.write(batch)
    return store


def created(deployment_id: DeploymentId, group_id: GroupId = GROUP, **options: object) -> Batch:
    batch = Batch()
    record = rollout_record(options.pop("status", DeploymentStatus.CREATED), **options.pop("record", {}))  # type: ignore[arg-type]
    spec = rollout_spec(deployment_id, **options.pop("spec", {}))  # type: ignore[arg-type]
    row = deployment_row(spec, record, application_id=APP, group_id=group_id, **options)  # type: ignore[arg-type]
    batch.insert(tables.deployments, row)
    batch.update(tables.deployment_groups, {"group_id": group_id}, attempted_values(deployment_id), expect=1)
    return batch


def moved(deployment_id: DeploymentId, status: DeploymentStatus, **changes: object) -> Batch:
    batch = Batch()
    values = rollout_values(rollout_record(status, **changes))
    batch.update(tables.deployments, {"deployment_id": deployment_id}, values, expect=1)
    return batch


async def test_a_rollout_is_loaded_as_it_was_stored(inventory: Store) -> None:
    url = UrlLocation(url="https://example.org/web.tgz", bundle_type=BundleType.TGZ, sha256="b" * 64)
    spec = rollout_spec(
        ONE,
        creator=Creator.ROLLBACK,
        revision=url,
        zonal=ZonalConfig(monitor_seconds=60),
        minimum=MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=75),
        path=(Segment(("BeforeBlockTraffic",)), CoordinatorEvent("BlockTraffic"), Segment(("Install",))),
        auto_rollback=AutoRollback(enabled=True, events=frozenset({RollbackEvent.DEPLOYMENT_FAILURE})),
        last_good=LastGood(
            deployment_id=TWO, revision=bundle("c"), file_exists_behavior=FileExistsBehavior.RETAIN
        ),
    )
    record = rollout_record(
        DeploymentStatus.BAKING,
        started_at=Instant(START + 1),
        counted=10,
        minimum=8,
        concurrency=2,
        zones=("a", "b"),
        zone_counted=(5, 5),
        zone=1,
        bake_until=Instant(START + 60_000),
        ending=ErrorInformation(code="MANUAL_STOP", message="stopped by alice"),
        ending_status=DeploymentStatus.STOPPED,
        stop=StopRecord(by="alice", auto_rollback=None),
        messages=("one", "zwei – drei"),
    )
    target = target_record(
        0,
        TargetStatus.IN_PROGRESS,
        zone="a",
        attempt=2,
        step=1,
        phase=CommandPhase.QUEUED,
        is_cancelled=True,
        lifecycle_event="Install",
        deadline=Instant(START + 300_000),
        silent_since=Instant(START + 5),
        started_at=Instant(START + 2),
    )
    failed = event_record(
        "Install",
        diagnostics=Diagnostics(
            error_code=LifecycleErrorCode.SCRIPT_FAILED,
            script_name="scripts/start.sh",
            message="exit status 1",
            log_tail="Zeile\n\x00\x1b[31mü\u2028",
            exit_status=1,
            duration_ms=1234,
        ),
    )
    batch = Batch()
    batch.insert(tables.deployments, deployment_row(spec, record, application_id=APP, group_id=GROUP))
    batch.put(tables.targets, target_row(ONE, target))
    batch.put(tables.target_events, event_row(ONE, target.instance_id, failed))
    await inventory.write(batch)
    async with inventory.reading() as connection:
        loaded = await queries.load_rollout(connection, ONE)
    assert loaded is not None
    assert loaded.spec == spec
    assert loaded.record == record
    assert loaded.targets == [target]
    assert loaded.events == [(target.instance_id, failed)]
    assert (loaded.group_id, loaded.sequence) == (GROUP, 0)


async def test_an_unknown_deployment_is_none(inventory: Store) -> None:
    async with inventory.reading() as connection:
        assert await queries.load_rollout(connection, ONE) is None
        assert await queries.get(connection, ONE) is None
        assert await queries.target(connection, ONE, "web-1") is None


@pytest.mark.req("CP-429", "CP-416")
async def test_the_database_allows_one_unfinished_deployment_a_group(inventory: Store) -> None:
    await inventory.write(created(ONE))
    with pytest.raises(ConstraintBroken) as refused:
        await inventory.write(created(TWO))
    assert refused.value.name == tables.ONE_ACTIVE
    async with inventory.reading() as connection:
        assert await queries.live_in(connection, [GROUP]) == [ONE]
    await inventory.write(created(TWO, OTHER))
    await inventory.write(moved(ONE, DeploymentStatus.FAILED))
    await inventory.write(created(THREE))
    async with inventory.reading() as connection:
        assert set(await queries.live(connection)) == {TWO, THREE}
        assert await queries.count_live(connection) == 2


async def test_a_rollback_takes_the_place_of_what_it_ends_in_one_batch(inventory: Store) -> None:
    await inventory.write(created(ONE))
    batch = moved(ONE, DeploymentStatus.FAILED)
    row = deployment_row(
        rollout_spec(TWO, creator=Creator.ROLLBACK),
        rollout_record(),
        application_id=APP,
        group_id=GROUP,
        triggering_deployment_id=ONE,
    )
    batch.insert(tables.deployments, row)
    batch.update(tables.deployments, {"deployment_id": ONE}, {"rollback_deployment_id": TWO})
    await inventory.write(batch)
    async with inventory.reading() as connection:
        first, second = await queries.get(connection, ONE), await queries.get(connection, TWO)
    assert first is not None
    assert second is not None
    assert first.rollback_deployment_id == TWO
    assert second.rollback_triggering_deployment_id == ONE


async def test_a_request_key_counts_once_in_its_group(inventory: Store) -> None:
    await inventory.write(created(ONE, request_key="build-17", status=DeploymentStatus.SUCCEEDED))
    await inventory.write(created(TWO, OTHER, request_key="build-17"))
    with pytest.raises(ConstraintBroken) as refused:
        await inventory.write(created(THREE, request_key="build-17"))
    assert refused.value.name == tables.REQUEST_KEY
    async with inventory.reading() as connection:
        assert await queries.by_request_key(connection, GROUP, "build-17") == ONE
        assert await queries.by_request_key(connection, GROUP, "build-18") is None


@pytest.mark.req("CP-025", "CP-028")
async def test_group_pointers_follow_their_deployments(inventory: Store) -> None:
    async with inventory.reading() as connection:
        group = await groups.find(connection, "web", "production")
    assert group is not None
    assert (group.last_attempted, group.last_successful, group.target_revision) == (None, None, None)

    await inventory.write(created(ONE))
    done = moved(ONE, DeploymentStatus.SUCCEEDED, completed_at=Instant(START + 9))
    done.update(tables.deployment_groups, {"group_id": GROUP}, succeeded_values(ONE, bundle()))
    await inventory.write(done)
    await inventory.write(created(TWO))
    await inventory.write(moved(TWO, DeploymentStatus.IN_PROGRESS))
    async with inventory.reading() as connection:
        group = await groups.get(connection, GROUP)
    assert group is not None
    assert group.last_attempted is not None
    assert (group.last_attempted.deployment_id, group.last_attempted.status) == (TWO, "InProgress")
    assert group.last_successful is not None
    assert (group.last_successful.deployment_id, group.last_successful.ended_at) == (ONE, START + 9)
    assert group.target_revision == bundle()


@pytest.mark.req("CP-459")
async def test_deployments_are_listed_newest_first_and_filtered(inventory: Store) -> None:
    ids = [DeploymentId(f"d-{number:09}") for number in range(10)]
    for number, deployment_id in enumerate(ids):
        status = DeploymentStatus.SUCCEEDED if number % 2 else DeploymentStatus.FAILED
        created_at = Instant(START + number // 3 * 1000)
        await inventory.write(
            created(
                deployment_id,
                OTHER if number == 4 else GROUP,
                status=status,
                record={"created_at": created_at},
            )
        )

    async def listed(wanted: DeploymentFilter, limit: int = 100) -> list[DeploymentId]:
        found: list[DeploymentId] = []
        key: tuple[object, ...] = ()
        async with inventory.reading() as connection:
            while page := await queries.before(connection, wanted, key, limit):
                found += [one.deployment_id for one in page]
                key = (page[-1].record.created_at, page[-1].deployment_id)
        return found

    newest_first = ids[::-1]
    assert await listed(DeploymentFilter()) == newest_first
    # Pages end within equal times.
    assert await listed(DeploymentFilter(), limit=2) == newest_first
    assert await listed(DeploymentFilter(group_id=OTHER)) == [ids[4]]
    failed = frozenset({DeploymentStatus.FAILED})
    assert await listed(DeploymentFilter(statuses=failed), limit=3) == newest_first[1::2]
    assert await listed(DeploymentFilter(statuses=frozenset())) == []
    middle = DeploymentFilter(created_from=Instant(START + 1000), created_until=Instant(START + 2000))
    assert await listed(middle) == ids[8:2:-1]


@pytest.mark.req("CP-238", "CP-111")
async def test_the_overview_counts_targets_by_status(inventory: Store) -> None:
    await inventory.write(created(ONE))
    statuses = [TargetStatus.PENDING] * 3 + [TargetStatus.IN_PROGRESS] * 2 + [TargetStatus.FAILED]
    batch = Batch()
    for ordinal, status in enumerate(statuses):
        batch.put(tables.targets, target_row(ONE, target_record(ordinal, status)))
    await inventory.write(batch)
    async with inventory.reading() as connection:
        found = await queries.get(connection, ONE)
    assert found is not None
    assert found.overview == {
        TargetStatus.PENDING: 3,
        TargetStatus.IN_PROGRESS: 2,
        TargetStatus.FAILED: 1,
    }


@pytest.mark.req("CP-108")
async def test_targets_are_found_in_order_by_status_and_by_instance(inventory: Store) -> None:
    await inventory.write(created(ONE))
    batch = Batch()
    for ordinal in (3, 0, 2, 1):
        status = TargetStatus.FAILED if ordinal % 2 else TargetStatus.SUCCEEDED
        batch.put(tables.targets, target_row(ONE, target_record(ordinal, status)))
    batch.put(tables.target_events, event_row(ONE, InstanceId("mi-1"), event_record("Install")))
    batch.put(tables.target_events, event_row(ONE, InstanceId("mi-2"), event_record("AfterInstall")))
    await inventory.write(batch)
    async with inventory.reading() as connection:
        everything = await queries.targets_of(connection, ONE)
        failed = await queries.targets_of(connection, ONE, statuses=frozenset({TargetStatus.FAILED}))
        second = await queries.targets_of(connection, ONE, after=0, limit=1)
        by_id, by_name = [await queries.target(connection, ONE, text) for text in ("mi-2", "web-2")]
        events = await queries.events_of(connection, ONE, [InstanceId("mi-1"), InstanceId("mi-3")])
    assert [target.ordinal for target in everything] == [0, 1, 2, 3]
    assert [target.ordinal for target in failed] == [1, 3]
    assert [target.ordinal for target in second] == [1]
    assert by_id is not None
    assert by_id == by_name
    assert {key: [one.name for one in found] for key, found in events.items()} == {
        "mi-1": ["Install"],
        "mi-3": [],
    }


async def test_the_feed_is_read_from_any_point(inventory: Store) -> None:
    await inventory.write(created(ONE))
    changes: list[FeedChange] = [
        RolloutChanged(record=rollout_record(DeploymentStatus.IN_PROGRESS)),
        TargetChanged(record=target_record(1, TargetStatus.IN_PROGRESS)),
        EventChanged(instance_id=InstanceId("mi-1"), record=event_record("Install")),
        RolloutChanged(record=rollout_record(DeploymentStatus.SUCCEEDED)),
    ]
    stored = [
        StoredChange(sequence=number, at=Instant(START + number), change=change)
        for number, change in enumerate(changes, start=1)
    ]
    batch = Batch()
    for entry in stored:
        batch.insert(tables.changes, change_row(ONE, entry))
    await inventory.write(batch)
    async with inventory.reading() as connection:
        assert await queries.changes_after(connection, ONE, 0, 100) == stored
        assert await queries.changes_after(connection, ONE, 1, 2) == stored[1:3]
        assert await queries.last_sequence(connection, ONE) == 4
        assert await queries.first_sequence(connection, ONE) == 1
    trimmed = Batch()
    trimmed.delete(tables.changes, {"deployment_id": ONE}, where=[tables.changes.c.sequence <= 2])
    await inventory.write(trimmed)
    async with inventory.reading() as connection:
        assert await queries.first_sequence(connection, ONE) == 3


@pytest.mark.req("CP-149")
async def test_deployments_show_the_present_names(inventory: Store) -> None:
    await inventory.write(created(ONE))
    batch = Batch()
    batch.update(tables.applications, {"application_id": APP}, {"name": "shop"})
    batch.update(tables.deployment_groups, {"group_id": GROUP}, {"name": "live"})
    await inventory.write(batch)
    async with inventory.reading() as connection:
        found = await queries.get(connection, ONE)
    assert found is not None
    assert (found.application_name, found.group_name) == ("shop", "live")


async def test_history_outlives_its_group(inventory: Store) -> None:
    await inventory.write(created(ONE, status=DeploymentStatus.SUCCEEDED))
    batch = Batch()
    batch.delete(tables.deployment_groups, {"group_id": GROUP})
    await inventory.write(batch)
    async with inventory.reading() as connection:
        found = await queries.get(connection, ONE)
    assert found is not None
    assert (found.group_name, found.record.status) == ("production", DeploymentStatus.SUCCEEDED)


@pytest.mark.req("CP-310", "CP-315", "CP-318")
async def test_members_have_the_health_of_their_group(inventory: Store) -> None:
    batch = Batch()
    for number, role in enumerate(["web", "web", "web", "web", "db"]):
        row = {
            "instance_id": f"mi-{number}",
            "name": f"web-{number}",
            "kind": "OnPremises",
            "arn": "",
            "tags": f'[["role","{role}"]]',
            "zone": "z",
            "registered_at": START,
            "facts": "{}",
        }
        batch.insert(tables.instances, row)
    for number, revision, outcome in (
        (1, bundle("a"), TargetStatus.SUCCEEDED),
        (2, bundle("b"), TargetStatus.SUCCEEDED),
        (3, bundle("a"), TargetStatus.FAILED),
    ):
        row = installation_row(
            GROUP, InstanceId(f"mi-{number}"), outcome=outcome, revision=revision, deployment_id=ONE, at=START
        )
        batch.put(tables.installations, row)
    # In another group everything went well.
    elsewhere = installation_row(
        OTHER,
        InstanceId("mi-3"),
        outcome=TargetStatus.SUCCEEDED,
        revision=bundle(),
        deployment_id=ONE,
        at=START,
    )
    batch.put(tables.installations, elsewhere)
    batch.update(tables.deployment_groups, {"group_id": GROUP}, succeeded_values(ONE, bundle("a")))
    await inventory.write(batch)
    async with inventory.reading() as connection:
        group = await groups.get(connection, GROUP)
        assert group is not None
        members = await groups.members(connection, group)
        outdated = await groups.members(connection, group, outdated_for=bundle("a").key)
    healthy, unhealthy = InstanceHealth.HEALTHY, InstanceHealth.UNHEALTHY
    assert [(one.name, one.instance_health, one.revision_health) for one in members] == [
        ("web-0", unhealthy, RevisionHealth.UNKNOWN),
        ("web-1", healthy, RevisionHealth.CURRENT),
        ("web-2", healthy, RevisionHealth.OLD),
        ("web-3", unhealthy, RevisionHealth.UNKNOWN),
    ]
    assert all(one.is_target for one in members)
    assert [one.is_target for one in outdated] == [True, False, True, True]
