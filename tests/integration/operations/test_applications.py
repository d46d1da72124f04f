from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core.inventory import ComputePlatform
from ferryman_coordinator.core.model import DeploymentId
from ferryman_coordinator.errors import Conflict, Invalid, LimitExceeded, NotFound
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.queries import deployments
from ferryman_coordinator.store.queries import instances as instance_queries
from tests.support.coordinator_records import bundle
from tests.support.desk import Desk


@pytest.mark.req("CP-003", "CP-004")
async def test_an_application_is_created_and_found(desk: Desk) -> None:
    created = await desk.applications.create("web")
    assert created.compute_platform is ComputePlatform.SERVER
    assert created.created_at == desk.clock.now()
    assert await desk.applications.get("web") == created
    assert (await desk.applications.create("fn", "Lambda")).compute_platform is ComputePlatform.LAMBDA


@pytest.mark.req("CP-031", "CP-033", "CP-035")
@pytest.mark.parametrize(
    "name, reason, complaint",
    [
        ("", "ApplicationNameRequiredException", "is missing"),
        ("a" * 101, "InvalidApplicationNameException", "101 characters, at most 100"),
        ("shop front", "InvalidApplicationNameException", "' ' is not among letters"),
        ("shop\r", "InvalidApplicationNameException", r"'\\r' is not among letters"),
        ("shöp", "InvalidApplicationNameException", "'ö' is not among"),
        ("a/b", "InvalidApplicationNameException", "'/' is not among"),
        ("a\n", "InvalidApplicationNameException", r"'\\n' is not among"),
    ],
)
async def test_a_missing_name_and_a_malformed_one_are_different_mistakes(
    desk: Desk, name: str, reason: str, complaint: str
) -> None:
    for call in (desk.applications.create, desk.applications.get, desk.applications.delete):
        with pytest.raises(Invalid, match=complaint) as refused:
            await call(name)
        assert refused.value.reason == reason


async def test_every_allowed_character_is_allowed(desk: Desk) -> None:
    name = "Az09._+=,@-" + "x" * 89
    assert (await desk.applications.create(name)).name == name


@pytest.mark.req("CP-002", "CP-032", "T3")
async def test_names_are_unique_and_their_case_counts(desk: Desk) -> None:
    await desk.applications.create("web")
    await desk.applications.create("Web")
    with pytest.raises(Conflict, match="'web' exists already") as refused:
        await desk.applications.create("web")
    assert refused.value.reason == "ApplicationAlreadyExistsException"


@pytest.mark.req("CP-034")
async def test_the_quota_holds_against_callers_at_the_same_moment(desk: Desk) -> None:
    names = [f"app-{number}" for number in range(6)]
    results = await asyncio.gather(
        *(desk.applications.create(name) for name in names), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, LimitExceeded)]
    assert len(refused) == 3
    assert {one.reason for one in refused} == {"ApplicationLimitExceededException"}
    assert "raise limits.applications" in refused[0].message
    assert len((await desk.applications.list(PageRequest())).items) == 3
    # A name that is taken is the better answer, although the quota is reached as well.
    with pytest.raises(Conflict):
        await desk.applications.create((await desk.applications.list(PageRequest())).items[0].name)


async def test_an_unknown_platform_is_refused(desk: Desk) -> None:
    with pytest.raises(Invalid, match="'Mainframe' is not known: use one of Server, Lambda, ECS") as refused:
        await desk.applications.create("web", "Mainframe")
    assert refused.value.reason == "InvalidComputePlatformException"


async def test_an_unknown_application_is_named_with_the_way_out(desk: Desk) -> None:
    with pytest.raises(NotFound, match="'web' does not exist; `ferryman application list` shows") as refused:
        await desk.applications.get("web")
    assert refused.value.reason == "ApplicationDoesNotExistException"


@pytest.mark.req("CP-458", "CP-459")
async def test_pages_are_stable_while_applications_come_and_go(desk: Desk) -> None:
    await desk.applications.create("b")
    await desk.applications.create("d")
    first = await desk.applications.list(PageRequest(size=1))
    assert [one.name for one in first.items] == ["b"]
    await desk.applications.create("a")
    await desk.applications.delete("b")
    await desk.applications.create("c")
    second = await desk.applications.list(PageRequest(size=5, token=first.next_token))
    assert [one.name for one in second.items] == ["c", "d"]
    assert second.next_token == ""
    with pytest.raises(Invalid) as refused:
        await desk.applications.list(PageRequest(token="nonsense"))
    assert refused.value.reason == "InvalidNextTokenException"


@pytest.mark.req("CP-148", "CP-149", "CP-004")
async def test_a_rename_keeps_the_id_and_everything_in_it(desk: Desk) -> None:
    created = await desk.applications.create("web")
    group = (await desk.groups.create("web", "production")).group
    await desk.revisions.register("web", bundle())
    renamed = await desk.applications.rename("web", "shop")
    assert (renamed.application_id, renamed.name) == (created.application_id, "shop")
    assert (await desk.groups.get("shop", "production")).group_id == group.group_id
    assert (await desk.revisions.get("shop", "a" * 64)).application_name == "shop"
    with pytest.raises(NotFound):
        await desk.applications.get("web")


@pytest.mark.req("CP-148")
async def test_a_rename_to_a_taken_name_changes_nothing(desk: Desk) -> None:
    await desk.applications.create("web")
    await desk.applications.create("api")
    with pytest.raises(Conflict) as refused:
        await desk.applications.rename("web", "api")
    assert refused.value.reason == "ApplicationAlreadyExistsException"
    with pytest.raises(NotFound):
        await desk.applications.rename("nothing", "other")
    assert {one.name for one in (await desk.applications.list(PageRequest())).items} == {"web", "api"}


@pytest.mark.req("CP-150", "CP-152", "A36", "CP-001", "T5")
async def test_deleting_takes_groups_revisions_and_history_along(desk: Desk) -> None:
    await desk.applications.create("web")
    await desk.groups.create("web", "production")
    await desk.revisions.register("web", bundle())
    await desk.deployment("d-000000001", "web", "production")
    await desk.applications.delete("web")
    await desk.applications.delete("web")
    async with desk.store.reading() as connection:
        assert await deployments.get(connection, DeploymentId("d-000000001")) is None
    await desk.applications.create("web")
    assert (await desk.groups.list("web", PageRequest())).items == ()
    with pytest.raises(NotFound):
        await desk.revisions.get("web", "a" * 64)


@pytest.mark.req("CP-153")
async def test_running_deployments_are_ended_before_their_application_goes(desk: Desk) -> None:
    await desk.applications.create("web")
    await desk.groups.create("web", "production")
    await desk.deployment("d-000000001", "web", "production")
    await desk.applications.delete("web")
    assert desk.engine.ended == [("d-000000001", "APPLICATION_MISSING")]


async def test_an_application_whose_deployments_do_not_end_stays(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.applications.create("web")
    await desk.groups.create("web", "production")
    await desk.deployment("d-000000001", "web", "production")

    async def never_ends(_groups: object, _code: str) -> None:
        return

    monkeypatch.setattr(desk.engine, "end_scope", never_ends)
    with pytest.raises(Conflict, match="still ending.*`ferryman deployment list`"):
        await desk.applications.delete("web")
    assert (await desk.groups.get("web", "production")).name == "production"


@pytest.mark.req("CP-151")
async def test_deleting_an_application_leaves_instances_and_bundles_as_they_are(desk: Desk) -> None:
    instance = await desk.instance("web-1", ("role", "web"))
    batch = Batch()
    kept = {"sha256": "a" * 64, "size_bytes": 9, "bundle_type": "zip", "stored_at": 1}
    batch.insert(tables.bundles, kept)
    await desk.store.write(batch)
    await desk.applications.create("web")
    await desk.groups.create("web", "production")
    await desk.revisions.register("web", bundle())
    await desk.deployment("d-000000001", "web", "production")
    await desk.applications.delete("web")
    assert desk.engine.gone == []
    async with desk.store.reading() as connection:
        assert await instance_queries.get(connection, instance.instance_id) == instance
        rows = (await connection.execute(sa.select(tables.bundles))).all()
    assert [row.sha256 for row in rows] == ["a" * 64]
