"""Deliveries reach their sinks: at least once, in order for each deployment, whatever the sinks do meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ferryman_coordinator.config.schema import Notices
from ferryman_coordinator.config.sinks import PayloadForm, Sink, SinkKind
from ferryman_coordinator.config.values import Duration
from ferryman_coordinator.core.group_options import GroupOptions, TriggerEventType
from ferryman_coordinator.core.inventory import InstanceKind
from ferryman_coordinator.core.model import DeploymentStatus, TargetStatus
from ferryman_coordinator.notices.office import NoticeOffice
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.event_records import DeliveryState, delivery_row
from tests.support.clock import START
from tests.support.coordinator_records import bundle
from tests.support.engine_world import World, fresh_world
from tests.support.fake_agent import broken_revision
from tests.support.notices import (
    ALL,
    delivered,
    deliveries,
    drive,
    running_office,
    stored,
    topic,
    triggers,
    webhook,
)
from tests.support.webhook import OK, Received, answer, webhook_server

MINUTE = 60_000
DEPLOYMENT_ENDS = (TriggerEventType.DEPLOYMENT_SUCCESS, TriggerEventType.DEPLOYMENT_FAILURE)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ferryman.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@asynccontextmanager
async def told_world(
    directory: Path,
    options: GroupOptions,
    sinks: Mapping[str, Sink],
    *,
    count: int = 1,
    settings: Notices | None = None,
    url: str = "",
) -> AsyncIterator[tuple[World, NoticeOffice]]:
    """A world of one group with those triggers, whose office runs."""
    async with fresh_world(directory) as world:
        world.url = url or world.url
        await world.start()
        await world.populate(count, options=options)
        world.connect()
        async with running_office(world, sinks, settings) as office:
            yield world, office


def types_of(got: list[Received]) -> list[str]:
    return [one.headers["Ferryman-Event-Type"] for one in got]


@pytest.mark.req("T67", "CP-377", "CP-378", "CP-380", "CP-373", "CP-374", "CP-369", "PF-310", "PF-312")
async def test_payloads_of_a_deployment_with_a_failed_host(tmp_path: Path, url: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    wanted = (TriggerEventType.DEPLOYMENT_FAILURE, TriggerEventType.INSTANCE_FAILURE)
    async with webhook_server() as server:
        sinks = {"ops": webhook("ops", server.url, secret_file=str(secret))}
        async with told_world(tmp_path, triggers(("ops", wanted)), sinks, count=2, url=url) as (world, _):
            world.play(broken_revision(bundle("b")), "mi-0")
            failed = await world.deploy("AllAtOnce", revision=bundle("b"))
            await world.finished(failed)
            # One of two Failed is no failure of an AllAtOnce deployment; the second one stops at it.
            also = await world.deploy("OneAtATime", revision=bundle("b"))
            assert (await world.finished(also)).record.status is DeploymentStatus.FAILED
            await delivered(world, 3)
            record = (await world.deployment(also)).record
            target = next(
                one.record
                for one in (await world.targets(failed)).values()
                if one.record.status is TargetStatus.FAILED
            )
        assert types_of(server.got) == ["InstanceFailure", "InstanceFailure", "DeploymentFailure"]
        instance, deployment = server.got[0].json, server.got[2].json
        assert instance == {
            "region": "eu-1",
            "accountId": "123456789012",
            "eventTriggerName": "ops",
            "deploymentId": failed,
            "instanceId": "arn:aws:codedeploy:eu-1:123456789012:instance/web-0",
            "lastUpdatedAt": f"{target.updated_at / 1000:.3f}",
            "instanceStatus": "Failed",
            "lifecycleEvents": instance["lifecycleEvents"],
        }
        events = {one["LifecycleEvent"]: one for one in instance["lifecycleEvents"]}
        assert next(iter(events)) == "ApplicationStop"
        assert len(events) == 7
        assert "Failed" in {one["LifecycleEventStatus"] for one in events.values()}
        assert events["ApplicationStop"] == {
            "LifecycleEvent": "ApplicationStop",
            "LifecycleEventStatus": "Succeeded",
            "StartTime": "1700000000.000",
            "EndTime": "1700000000.000",
        }
        assert record.completed_at is not None
        assert record.error is not None
        assert deployment == {
            "region": "eu-1",
            "accountId": "123456789012",
            "eventTriggerName": "ops",
            "applicationName": "web",
            "deploymentId": also,
            "deploymentGroupName": "production",
            "createTime": f"{record.created_at / 1000:.3f}",
            "completeTime": f"{record.completed_at / 1000:.3f}",
            "deploymentOverview": deployment["deploymentOverview"],
            "status": "Failed",
            "errorInformation": {"ErrorCode": record.error.code, "ErrorMessage": record.error.message},
        }
        overview = deployment["deploymentOverview"]
        assert set(overview) == {"Failed", "InProgress", "Pending", "Skipped", "Succeeded"}
        assert all(isinstance(value, str) for value in overview.values())
        assert sum(map(int, overview.values())) == 2
        for one in server.got:
            signed = one.headers["Ferryman-Timestamp"].encode() + b"." + one.body
            expected = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
            assert one.headers["Ferryman-Signature"] == f"v1={expected}"
        assert len({one.headers["Ferryman-Event-Id"] for one in server.got}) == 3


@pytest.mark.req("CP-067", "CP-373")
async def test_instances_of_both_kinds_raise_triggers(tmp_path: Path) -> None:
    starts = (TriggerEventType.INSTANCE_START,)
    async with webhook_server() as server:
        sinks = {"ops": webhook("ops", server.url)}
        async with told_world(tmp_path, triggers(("ops", starts)), sinks, count=2) as (world, _):
            batch = Batch()
            values = {"kind": InstanceKind.CLOUD.value, "arn": ""}
            batch.update(tables.instances, {"instance_id": "mi-0"}, values)
            await world.store.write(batch)
            await world.finished(await world.deploy())
            await delivered(world, 2)
        assert {one.json["instanceId"] for one in server.got} == {
            "arn:aws:ec2:eu-1:123456789012:instance/mi-0",
            "arn:aws:codedeploy:eu-1:123456789012:instance/web-1",
        }


@pytest.mark.req("CP-379", "A32")
async def test_the_observed_form_is_what_the_original_sends(tmp_path: Path) -> None:
    async with webhook_server() as server:
        sinks = {"ops": webhook("ops", server.url, payload=PayloadForm.OBSERVED)}
        async with told_world(tmp_path, triggers(("ops", ALL)), sinks) as (world, _):
            await world.finished(await world.deploy())
            await delivered(world, 4)
        start, _, _, end = (one.json for one in server.got)
        assert start["status"] == "CREATED"
        assert end["status"] == "SUCCEEDED"
        assert end["deploymentOverview"].startswith('{"Failed":"0"')
        assert isinstance(server.got[1].json["lifecycleEvents"], str)


@pytest.mark.req("T69", "CP-375", "CP-376")
async def test_a_sink_that_is_down_for_ten_minutes_gets_everything_later_and_in_order(
    tmp_path: Path, url: str
) -> None:
    async with webhook_server() as server:
        await server.stop()
        sinks = {"ops": webhook("ops", server.url)}
        async with told_world(tmp_path, triggers(("ops", ALL)), sinks, count=3, url=url) as (world, office):
            deployment_id = await world.deploy("OneAtATime")
            # The deployment does not notice.
            assert (await world.finished(deployment_id)).record.status is DeploymentStatus.SUCCEEDED
            await drive(world, lambda: world.clock.now() >= START + 10 * MINUTE and office.figures.failed > 2)
            waiting = await deliveries(world)
            assert {one.state for one in waiting} == {DeliveryState.WAITING}
            assert waiting[0].attempts > 2
            assert "cannot reach 127.0.0.1" in waiting[0].last_error
            assert [one.attempts for one in waiting[1:]] == [0] * 7
            # With pauses that grow: not once a second.
            assert office.figures.failed < 20
            await server.start()
            await drive(world, lambda: len(server.got) == 8)
            await delivered(world, 8)
        assert types_of(server.got) == [
            "DeploymentStart",
            *["InstanceStart", "InstanceSuccess"] * 3,
            "DeploymentSuccess",
        ]


@pytest.mark.req("CP-375", "PF-312")
async def test_a_sink_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async with webhook_server(lambda received: None) as hanging, webhook_server() as fine:
        sinks = {
            "slow": webhook("slow", hanging.url, timeout=Duration(60_000)),
            "fine": webhook("fine", fine.url),
        }
        options = triggers(("slow", ALL), ("fine", ALL))
        async with told_world(tmp_path, options, sinks) as (world, _):
            await world.finished(await world.deploy())
            await hanging.wait_for(1)
            await delivered(world, 4)
            assert {one.target for one in await deliveries(world, DeliveryState.DELIVERED)} == {topic("fine")}
        # In order, so one message of the deployment is out, and no more.
        assert len(hanging.got) == 1


@pytest.mark.parametrize(
    "said, reason",
    [
        (answer(500, "out of\norder"), "127.0.0.1 answers 500: out of order"),
        (b"", "cannot reach 127.0.0.1"),
        (b"HTTP/1.1 200 OK", "cannot reach 127.0.0.1"),
        (answer(302, "", "Location: http://127.0.0.1:1/"), "put the final address into the sink's url"),
        (answer(400, "no"), "127.0.0.1 answers 400: no"),
        (b"not http at all\r\n\r\n", "cannot reach 127.0.0.1"),
    ],
)
@pytest.mark.req("CP-375")
async def test_what_was_not_taken_is_sent_again_until_it_is(tmp_path: Path, said: bytes, reason: str) -> None:
    async with webhook_server(lambda received: said) as server:
        options = triggers(("ops", DEPLOYMENT_ENDS))
        async with told_world(tmp_path, options, {"ops": webhook("ops", server.url)}) as (world, _):
            await world.finished(await world.deploy())
            await drive(world, lambda: len(server.got) >= 3)
            (waiting,) = await deliveries(world, DeliveryState.WAITING)
            assert reason in waiting.last_error
            server.behave = lambda received: OK
            count = len(server.got)
            await drive(world, lambda: len(server.got) > count)
            await delivered(world, 1)
        # Each time the same message.
        assert len({(one.body, one.headers["Ferryman-Delivery-Id"]) for one in server.got}) == 1


@pytest.mark.req("CP-375")
async def test_one_message_that_is_not_taken_holds_up_its_own_deployment_only(tmp_path: Path) -> None:
    refused = asyncio.Event()

    def behave(received: Received) -> bytes:
        if received.headers["Ferryman-Event-Type"] == "DeploymentFailure":
            refused.set()
            return answer(422, "unknown field")
        return OK

    async with webhook_server(behave) as server:
        options = triggers(("ops", DEPLOYMENT_ENDS))
        async with told_world(tmp_path, options, {"ops": webhook("ops", server.url)}) as (world, _):
            world.play(broken_revision(bundle("b")))
            await world.finished(await world.deploy(revision=bundle("b")))
            async with asyncio.timeout(20):
                await refused.wait()
            # The clock stands still, so nothing waits for the end of a pause.
            good = await world.deploy(revision=bundle("c"))
            await world.finished(good)
            (taken,) = await delivered(world, 1)
            assert taken.deployment_id == good


@pytest.mark.req("CP-375", "PF-312")
async def test_what_was_in_vain_for_a_day_is_put_aside(tmp_path: Path, url: str) -> None:
    async with webhook_server(lambda received: answer(503)) as server:
        options = triggers(("ops", ALL))
        sinks = {"ops": webhook("ops", server.url)}
        settings = Notices(give_up_after=Duration(60 * MINUTE), longest_pause=Duration(10_000))
        async with told_world(tmp_path, options, sinks, settings=settings, url=url) as (world, office):
            await world.finished(await world.deploy())
            await stored(world, 4)
            await drive(world, lambda: office.figures.failed > 3, 200)
            world.clock.advance(60 * MINUTE)
            await drive(world, lambda: office.figures.backlog.dead == 4)
            dead = await deliveries(world, DeliveryState.DEAD)
            # All four, though only the first one was ever tried.
            assert len(dead) == 4
            assert dead[0].attempts > 3
            assert [one.attempts for one in dead[1:]] == [0, 0, 0]
            assert all(one.last_error == "127.0.0.1 answers 503" for one in dead)
            assert office.figures.backlog.waiting == 0


@pytest.mark.req("CP-374")
async def test_a_target_without_a_sink_is_put_aside_with_the_way_out(tmp_path: Path) -> None:
    async with told_world(tmp_path, triggers(("nowhere", DEPLOYMENT_ENDS)), {}) as (world, _):
        await world.finished(await world.deploy())
        dead = await stored(world, 1, DeliveryState.DEAD)
        assert f"no sink stands for {topic('nowhere')}" in dead[0].last_error
        assert "ferryman trigger replay" in dead[0].last_error


@pytest.mark.req("CP-375", "CP-423")
async def test_what_a_coordinator_did_not_deliver_before_its_end_the_next_one_does(
    tmp_path: Path, url: str
) -> None:
    async with webhook_server() as server, fresh_world(tmp_path) as world:
        world.url = url
        await world.start()
        await world.populate(1, options=triggers(("ops", ALL)))
        world.connect()
        # Nobody looks into the outbox: as if it ended right after the commits.
        await world.finished(await world.deploy())
        await world.stop()
        assert not server.got
        await world.start()
        async with running_office(world, {"ops": webhook("ops", server.url)}):
            await delivered(world, 4)
        # And once more: what was delivered stays so.
        async with running_office(world, {"ops": webhook("ops", server.url)}) as office:
            world.connect()
            await world.finished(await world.deploy(revision=bundle("b")))
            await delivered(world, 8)
            assert office.figures.delivered == 4
        assert len(server.got) == 8


@pytest.mark.req("CP-375")
async def test_a_message_whose_answer_nobody_heard_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    async with webhook_server(lambda received: None) as server:
        options = triggers(("ops", DEPLOYMENT_ENDS))
        async with fresh_world(tmp_path) as world:
            await world.start()
            await world.populate(1, options=options)
            world.connect()
            async with running_office(world, {"ops": webhook("ops", server.url)}):
                await world.finished(await world.deploy())
                await server.wait_for(1)
            # Killed between the request and its answer.
            server.behave = lambda received: OK
            async with running_office(world, {"ops": webhook("ops", server.url)}):
                await delivered(world, 1)
        first, second = server.got
        assert first.body == second.body
        assert first.headers["Ferryman-Delivery-Id"] == second.headers["Ferryman-Delivery-Id"]


@pytest.mark.req("CP-374")
async def test_a_chat_gets_a_line_of_text_without_mentions(tmp_path: Path) -> None:
    async with webhook_server() as server:
        url_file = tmp_path / "url"
        url_file.write_text(server.url)
        sink = Sink(kind=SinkKind.SLACK, arn=topic("ops"), url_file=str(url_file))
        options = triggers(("ops", DEPLOYMENT_ENDS))
        async with told_world(tmp_path, options, {"chat": sink}) as (world, _):
            deployment_id = await world.deploy()
            await world.finished(deployment_id)
            await delivered(world, 1)
        (message,) = server.got
        assert message.json == {"text": f"Deployment {deployment_id} of web to production has succeeded"}
        assert "Ferryman-Signature" not in message.headers


async def test_ten_thousand_that_wait_for_a_dead_sink_cost_one_attempt_at_a_time(tmp_path: Path) -> None:
    async with webhook_server(lambda received: answer(503)) as server, webhook_server() as fine:
        sinks = {"ops": webhook("ops", server.url), "fine": webhook("fine", fine.url)}
        options = triggers(("ops", DEPLOYMENT_ENDS), ("fine", DEPLOYMENT_ENDS))
        async with told_world(tmp_path, options, sinks) as (world, office):
            await world.finished(await world.deploy())
            await delivered(world, 1)
            await multiply(world, 10_000)
            before = len(server.got)
            tracemalloc.start()
            await drive(
                world,
                lambda: world.clock.now() >= START + 20 * MINUTE and len(server.got) > before,
                10_000,
            )
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            # The messages alone are several times as large.
            assert peak < 4 << 20
            assert 0 < len(server.got) - before < 30
            world.disconnect()
            world.connect()
            await world.finished(await world.deploy(revision=bundle("b")))
            await delivered(world, 2)
            server.behave = lambda received: OK
            await drive(world, lambda: office.figures.delivered > 100)


async def multiply(world: World, count: int) -> None:
    """As if as many deployments had told the dead sink of their end."""
    (one,) = await deliveries(world, DeliveryState.WAITING)
    batch = Batch()
    for number in range(count):
        more = replace(one, delivery_id=f"copy-{number}", deployment_id=f"d-{number % 5_000}")
        batch.add(tables.deliveries, delivery_row(more))
    await world.store.write(batch)
