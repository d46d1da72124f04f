from __future__ import annotations

import asyncio

import pytest

from ferryman_coordinator.core.model import DeploymentId, InstanceHealth, RevisionHealth, TargetStatus
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter, TagFilterType
from ferryman_coordinator.errors import Invalid, LimitExceeded, NotFound
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.records import installation_row, succeeded_values
from tests.support.clock import START
from tests.support.coordinator_records import bundle
from tests.support.desk import Desk


async def names(desk: Desk, **options: object) -> list[str]:
    page = await desk.instances.list(PageRequest(), **options)  # type: ignore[arg-type]
    return [one.name for one in page.items]


@pytest.mark.req("CP-099", "CP-033")
async def test_an_unknown_instance_is_named(desk: Desk) -> None:
    with pytest.raises(NotFound, match="'web-9' is not registered; `ferryman instance list`") as refused:
        await desk.instances.get("web-9")
    assert refused.value.reason == "InstanceNotRegisteredException"
    with pytest.raises(Invalid) as missing:
        await desk.instances.get("")
    assert missing.value.reason == "InstanceNameRequiredException"


@pytest.mark.req("CP-097", "CP-091", "CP-093")
async def test_deregistered_instances_stay_as_history(desk: Desk) -> None:
    await desk.instance("web-1", ("role", "web"))
    await desk.instance("web-2")
    desk.clock.advance(1000)
    await desk.instances.deregister("web-1")
    gone = (await desk.instances.get("web-1")).instance
    assert (gone.deregistered_at, gone.tags) == (desk.clock.now(), (Tag("role", "web"),))
    assert gone.certificate_expires_at is None
    assert await names(desk) == ["web-1", "web-2"]
    assert await names(desk, status="Registered") == ["web-2"]
    assert await names(desk, status="Deregistered") == ["web-1"]
    with pytest.raises(Invalid, match="'Lost' is not known") as refused:
        await names(desk, status="Lost")
    assert refused.value.reason == "InvalidRegistrationStatusException"


@pytest.mark.req("CP-092")
async def test_deregistering_is_idempotent(desk: Desk) -> None:
    instance = await desk.instance("web-1")
    await desk.instances.deregister("web-1")
    desk.clock.advance(1000)
    await desk.instances.deregister("web-1")
    await desk.instances.deregister(instance.instance_id)
    await desk.instances.deregister("nothing")
    assert (await desk.instances.get("web-1")).instance.deregistered_at == START
    assert desk.engine.gone == [(instance.instance_id, "was deregistered", False)]
    with pytest.raises(Invalid) as refused:
        await desk.instances.deregister("")
    assert refused.value.reason == "InstanceNameRequiredException"


@pytest.mark.req("CP-091", "CP-113")
async def test_a_name_used_again_means_its_present_holder(desk: Desk) -> None:
    first = await desk.instance("web-1")
    await desk.instances.deregister("web-1")
    desk.clock.advance(1000)
    second = await desk.instance("web-1")
    assert (await desk.instances.get("web-1")).instance.instance_id == second.instance_id
    assert (await desk.instances.get(first.instance_id)).instance.name == "web-1"
    await desk.instances.deregister("web-1")
    assert (await desk.instances.get("web-1")).instance.instance_id == second.instance_id
    assert await names(desk, status="Deregistered") == ["web-1", "web-1"]


@pytest.mark.req("CP-098", "A40")
async def test_tag_filters_of_a_listing_are_alternatives(desk: Desk) -> None:
    await desk.instance("a", ("role", "web"), ("stage", "beta"))
    await desk.instance("b", ("role", "db"))
    await desk.instance("c", ("owner", "beta"))
    await desk.instance("d")
    assert await names(desk, tag_filters=[TagFilter.of("role", "db"), TagFilter.of("owner")]) == ["b", "c"]
    assert await names(desk, tag_filters=[TagFilter.of(value="beta")]) == ["a", "c"]
    assert await names(desk) == ["a", "b", "c", "d"]
    broken = TagFilter(type=TagFilterType.KEY_ONLY)
    with pytest.raises(Invalid) as refused:
        await names(desk, tag_filters=[broken])
    assert refused.value.reason == "InvalidTagFilterException"


@pytest.mark.req("CP-458", "CP-459")
async def test_instances_are_listed_page_by_page(desk: Desk) -> None:
    for number in range(7):
        await desk.instance(f"web-{number}", ("odd", str(number % 2)))
    odd = [TagFilter.of("odd", "1")]
    first = await desk.instances.list(PageRequest(size=2), tag_filters=odd)
    await desk.instances.deregister("web-1")
    second = await desk.instances.list(PageRequest(size=2, token=first.next_token), tag_filters=odd)
    assert [one.name for one in (*first.items, *second.items)] == ["web-1", "web-3", "web-5"]
    with pytest.raises(Invalid, match="does not belong to this list"):
        await desk.instances.list(PageRequest(size=2, token=first.next_token))


@pytest.mark.req("CP-032", "CP-054", "CP-088", "CP-089", "CP-090")
async def test_tags_are_added_and_removed(desk: Desk) -> None:
    await desk.instance("web-1", ("role", "web"), ("stage", "beta"))
    changed = await desk.instances.tag(
        "web-1",
        add=[Tag("role", "api"), Tag("role", "web")],
        remove=[Tag("stage", "beta"), Tag("role", "nothing")],
    )
    assert changed.tags == (Tag("role", "web"), Tag("role", "api"))
    assert (await desk.instances.tag("web-1", remove=[Tag("role", "api")])).tags == (Tag("role", "web"),)
    assert (await desk.instances.get("web-1")).instance.is_registered
    # Tags decide at once, and their case counts.
    for key, value, total in (("role", "web", 1), ("role", "api", 0), ("Role", "web", 0), ("role", "Web", 0)):
        selection = Selection(tag_filters=(TagFilter.of(key, value),))
        assert (await desk.groups.matching(selection, PageRequest())).total == total


@pytest.mark.req("CP-085", "CP-086")
async def test_wrong_tag_changes_change_nothing(desk: Desk) -> None:
    await desk.instance("web-1", *((f"key-{number}", "x") for number in range(9)))
    for add, kind, reason in (
        ([], Invalid, "TagRequiredException"),
        ([Tag("good", "one"), Tag("bad", "")], Invalid, "InvalidTagException"),
        ([Tag("key-9", "x"), Tag("key-10", "x")], LimitExceeded, "TagLimitExceededException"),
    ):
        with pytest.raises(kind) as refused:
            await desk.instances.tag("web-1", add=add)
        assert refused.value.reason == reason
    assert len((await desk.instances.get("web-1")).instance.tags) == 9
    await desk.instances.tag("web-1", add=[Tag("key-9", "x")])
    await desk.instances.deregister("web-1")
    with pytest.raises(NotFound) as gone:
        await desk.instances.tag("web-1", add=[Tag("a", "b")])
    assert gone.value.reason == "InstanceNotRegisteredException"


async def test_tag_changes_at_the_same_moment_lose_nothing(desk: Desk) -> None:
    await desk.instance("web-1")
    changes = (desk.instances.tag("web-1", add=[Tag("number", str(number))]) for number in range(8))
    await asyncio.gather(*changes)
    tags = (await desk.instances.get("web-1")).instance.tags
    assert {tag.value for tag in tags} == {str(number) for number in range(8)}


@pytest.mark.req("CP-114", "CP-318", "K25")
async def test_health_is_shown_for_each_group(desk: Desk) -> None:
    instance = await desk.instance("web-1")
    await desk.applications.create("web")
    batch = Batch()
    for name, outcome, installed in (
        ("current", TargetStatus.SUCCEEDED, bundle("a")),
        ("failed", TargetStatus.FAILED, bundle("a")),
        ("older", TargetStatus.SUCCEEDED, bundle("b")),
    ):
        group = (await desk.groups.create("web", name)).group
        values = succeeded_values(DeploymentId("d-000000001"), bundle("a"))
        batch.update(tables.deployment_groups, {"group_id": group.group_id}, values)
        row = installation_row(
            group.group_id,
            instance.instance_id,
            outcome=outcome,
            revision=installed,
            deployment_id=DeploymentId("d-000000002"),
            at=START,
        )
        batch.put(tables.installations, row)
    await desk.store.write(batch)
    health = (await desk.instances.get("web-1")).health
    assert [
        (one.group_name, one.instance_health, one.revision_health, one.installed_revision) for one in health
    ] == [
        ("current", InstanceHealth.HEALTHY, RevisionHealth.CURRENT, bundle("a")),
        ("failed", InstanceHealth.UNHEALTHY, RevisionHealth.UNKNOWN, None),
        ("older", InstanceHealth.HEALTHY, RevisionHealth.OLD, bundle("b")),
    ]
    await desk.groups.delete("web", "older")
    assert len((await desk.instances.get("web-1")).health) == 2
