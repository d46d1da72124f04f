"""Events, triggers, messages and notification rules over the wire, with a real web server behind the sinks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from ferryman.v1 import deployments_pb2, inventory_pb2, types_pb2
from ferryman.v1 import events_pb2 as pb
from tests.support.coordinator import (
    RunningCoordinator,
    deployments_stub,
    events_stub,
    inventory_stub,
    refusal,
    running_coordinator,
)
from tests.support.people import person
from tests.support.webhook import WebhookServer, answer, webhook_server

TOPIC = "arn:aws:sns:eu-1:123456789012:ops"
REVISION = types_pb2.RevisionLocation(
    url=types_pb2.UrlLocation(url="https://example.org/a.zip", bundle_type=types_pb2.BUNDLE_TYPE_ZIP)
)


class Desk:
    """The administrator, at an application `web` with a group `all` that has no instances."""

    def __init__(self, coordinator: RunningCoordinator, channel: grpc.aio.Channel) -> None:
        self.coordinator = coordinator
        self.events = events_stub(channel)
        self.inventory = inventory_stub(channel)
        self.deployments = deployments_stub(channel)

    def __call__(self, method: Any, request: Any) -> Awaitable[Any]:
        answer: Awaitable[Any] = method(request, metadata=self.coordinator.admin)
        return answer

    async def populate(self, *triggers: inventory_pb2.Trigger, application: str = "web") -> list[str]:
        """Returns the warnings that come with the group."""
        await self(self.inventory.CreateApplication, inventory_pb2.CreateApplicationRequest(name=application))
        request = inventory_pb2.CreateDeploymentGroupRequest(
            application_name=application,
            name="all",
            selection=inventory_pb2.Selection(tag_filters=[inventory_pb2.TagFilter(key="a", value="b")]),
            options=inventory_pb2.GroupOptions(triggers=inventory_pb2.Triggers(triggers=triggers)),
        )
        return list((await self(self.inventory.CreateDeploymentGroup, request)).warnings)

    async def set_triggers(self, *triggers: inventory_pb2.Trigger) -> list[str]:
        request = inventory_pb2.UpdateDeploymentGroupRequest(
            application_name="web",
            name="all",
            options=inventory_pb2.GroupOptions(triggers=inventory_pb2.Triggers(triggers=triggers)),
        )
        return list((await self(self.inventory.UpdateDeploymentGroup, request)).warnings)

    async def triggers(self) -> list[inventory_pb2.Trigger]:
        request = inventory_pb2.GetDeploymentGroupRequest(application_name="web", name="all")
        found = await self(self.inventory.GetDeploymentGroup, request)
        return list(found.deployment_group.options.triggers.triggers)

    async def fail(self, application: str = "web") -> str:
        """A deployment that fails at once: nobody is there."""
        options = deployments_pb2.DeploymentOptions(
            application_name=application, deployment_group_name="all", revision=REVISION
        )
        request = deployments_pb2.CreateDeploymentRequest(options=options)
        made: str = (await self(self.deployments.CreateDeployment, request)).deployment_id
        watch = deployments_pb2.WatchDeploymentRequest(deployment_id=made)
        async for _ in self.deployments.WatchDeployment(watch, metadata=self.coordinator.admin):
            pass
        return made

    async def watched(self, **fields: Any) -> list[pb.WatchEventsResponse]:
        """What there is of it now, signs of life included."""
        request = pb.WatchEventsRequest(**fields)
        return [one async for one in self.events.WatchEvents(request, metadata=self.coordinator.admin)]

    async def deliveries(self, **fields: Any) -> list[pb.Delivery]:
        request = pb.ListDeliveriesRequest(**fields)
        return list((await self(self.events.ListDeliveries, request)).deliveries)

    async def until(self, condition: Callable[[list[pb.Delivery]], bool]) -> list[pb.Delivery]:
        async with asyncio.timeout(20):
            while not condition(found := await self.deliveries()):
                pass
        return found


@asynccontextmanager
async def open_desk(data_dir: Path, *, sinks: str = "{}") -> AsyncIterator[Desk]:
    async with (
        running_coordinator(data_dir, {"sinks": sinks}) as coordinator,
        coordinator.channel() as channel,
    ):
        yield Desk(coordinator, channel)


def sink_of(server: WebhookServer) -> str:
    return json.dumps({"ops": {"kind": "webhook", "arn": TOPIC, "url": server.url}})


def trigger(name: str = "ops", *events: str, target: str = TOPIC) -> inventory_pb2.Trigger:
    return inventory_pb2.Trigger(name=name, target_arn=target, events=events or ["DeploymentFailure"])


@pytest.mark.req("CP-370", "CP-371", "T67", "PF-309", "CP-372")
async def test_a_new_or_changed_trigger_sends_a_test_message_and_is_saved_whatever_becomes_of_it(
    tmp_path: Path,
) -> None:
    async with webhook_server() as server, open_desk(tmp_path / "data", sinks=sink_of(server)) as desk:
        assert not [one for one in await desk.populate(trigger()) if "test message" in one]
        (first,) = server.got
        assert first.headers["Ferryman-Event-Type"] == "Test"
        assert first.json["eventTriggerName"] == "ops"
        assert first.json["applicationName"] == "web"
        # What stays as it is is not tested again; what is new or changed is.
        await desk.set_triggers(trigger(), trigger("second"))
        await desk.set_triggers(trigger("ops", "DeploymentStop"), trigger("second"))
        assert [one.json["eventTriggerName"] for one in server.got] == ["ops", "second", "ops"]
        server.behave = lambda received: answer(404, "gone")
        warnings = await desk.set_triggers(trigger("third"))
        (warning,) = [one for one in warnings if "third" in one]
        assert "its test message was not delivered: 127.0.0.1 answers 404: gone" in warning
        assert [one.name for one in await desk.triggers()] == ["third"]
        warnings = await desk.set_triggers(trigger("lost", target=TOPIC + "-2"))
        assert any(f"no sink stands for {TOPIC}-2" in one for one in warnings)
        assert [one.name for one in await desk.triggers()] == ["lost"]
        await desk.set_triggers()
        assert await desk.triggers() == []


@pytest.mark.req("CP-387", "CP-386", "CP-384", "CP-381", "PF-305", "K19")
async def test_events_from_any_position_on(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "data") as desk:
        await desk.populate()
        await desk.populate(application="api")
        begin, end = await desk.watched(after_position=0)
        assert (begin.position, end.position) == (0, 0)
        follow = desk.events.WatchEvents(
            pb.WatchEventsRequest(follow=True, application_name="web"), metadata=desk.coordinator.admin
        )
        live = aiter(follow)
        assert not (await anext(live)).HasField("event")
        first, _, second = await desk.fail(), await desk.fail("api"), await desk.fail()
        heard = [await anext(live) for _ in range(2)]
        assert [one.event.deployment_id for one in heard] == [first, second]
        follow.cancel()
        everything = [one for one in await desk.watched(after_position=0) if one.HasField("event")]
        assert [one.event.state for one in everything] == [pb.EVENT_STATE_FAILURE] * 3
        # From behind the first one that was seen: no more, no less, and the same.
        again = [
            one
            for one in await desk.watched(after_position=heard[0].position, application_name="web")
            if one.HasField("event")
        ]
        assert again == [heard[1]]
        (newest,) = [one for one in await desk.watched(last=1) if one.HasField("event")]
        assert newest == heard[1]
        # Nothing of that kind, but how far it looked.
        nothing = await desk.watched(after_position=0, kind=pb.EVENT_KIND_INSTANCE)
        assert nothing[-1].position == heard[1].position
        assert not any(
            one.HasField("event")
            for one in await desk.watched(after_position=0, states=[pb.EVENT_STATE_SUCCESS])
        )
        envelope = json.loads(newest.event.envelope)
        assert envelope == {
            "version": "0",
            "id": newest.event.event_id,
            "detail-type": "CodeDeploy Deployment State-change Notification",
            "source": "aws.codedeploy",
            "account": "000000000000",
            "time": envelope["time"],
            "region": "local",
            "resources": [
                "arn:aws:codedeploy:local:000000000000:deploymentgroup:web/all",
                "arn:aws:codedeploy:local:000000000000:application:web",
            ],
            "detail": {
                "region": "local",
                "deploymentId": second,
                "instanceGroupId": newest.event.deployment_group_id,
                "application": "web",
                "deploymentGroup": "all",
                "state": "FAILURE",
            },
        }


@pytest.mark.req("CP-387")
async def test_positions_that_cannot_be(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "data") as desk:

        async def refused(**fields: Any) -> str:
            stream = desk.events.WatchEvents(pb.WatchEventsRequest(**fields), metadata=desk.coordinator.admin)
            _, fault = await refusal(stream.read())
            return fault.message

        assert "there is no position 7 yet, the newest is 0" in await refused(after_position=7)
        assert "0 or more" in await refused(after_position=-1)
        assert "not both" in await refused(after_position=0, last=1)
        assert "of which application" in await refused(deployment_group_name="all")
        assert "use one of START, QUEUED" in await refused(states=[99])


@pytest.mark.req("CP-375", "PF-312")
async def test_what_was_put_aside_is_listed_and_sent_again(tmp_path: Path) -> None:
    async with webhook_server() as server:
        async with open_desk(tmp_path / "data") as desk:
            await desk.populate(trigger())
            failed = await desk.fail()
            (dead,) = await desk.until(lambda found: bool(found))
            assert dead.state == pb.DELIVERY_STATE_DEAD
            assert dead.deployment_id == failed
            assert f"no sink stands for {TOPIC}" in dead.last_error
            assert json.loads(dead.body)["status"] == "Failed"
            unknown = pb.ReplayDeliveriesRequest(delivery_ids=["no-such"])
            code, fault = await refusal(desk(desk.events.ReplayDeliveries, unknown))
            assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "DeliveryDoesNotExist")
            code, _ = await refusal(desk(desk.events.ReplayDeliveries, pb.ReplayDeliveriesRequest()))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
        # With a sink now.
        async with open_desk(tmp_path / "data", sinks=sink_of(server)) as desk:
            elsewhere = pb.ReplayDeliveriesRequest(all_dead=True, application_name="api")
            assert (await desk(desk.events.ReplayDeliveries, elsewhere)).replayed == 0
            request = pb.ReplayDeliveriesRequest(all_dead=True, target=TOPIC)
            assert (await desk(desk.events.ReplayDeliveries, request)).replayed == 1
            await server.wait_for(1)
            (done,) = await desk.until(lambda found: found[0].state == pb.DELIVERY_STATE_DELIVERED)
            assert done.attempts == 1
            # One that was delivered can be sent again, too: the same message.
            once_more = pb.ReplayDeliveriesRequest(delivery_ids=[done.delivery_id])
            assert (await desk(desk.events.ReplayDeliveries, once_more)).replayed == 1
            first, second = await server.wait_for(2)
            assert first.body == second.body
            assert not await desk.deliveries(states=[pb.DELIVERY_STATE_DEAD])


@pytest.mark.req("CP-384", "CP-385", "CP-388", "CP-389", "CP-390", "CP-391", "PF-306", "PF-311")
async def test_rules_feed_several_targets_with_what_they_filter(tmp_path: Path) -> None:
    async with webhook_server() as server, webhook_server() as other:
        sinks = json.dumps(
            {
                "ops": {"kind": "webhook", "arn": TOPIC, "url": server.url},
                "log": {"kind": "webhook", "url": other.url},
            }
        )
        async with open_desk(tmp_path / "data", sinks=sinks) as desk:
            await desk.populate()
            await desk.populate(application="api")
            request = pb.CreateNotificationRuleRequest(
                name="failures",
                application_name="web",
                deployment_group_names=["all"],
                event_type_ids=["codedeploy-application-deployment-failed", "deployment-stopped"],
                targets=[pb.RuleTarget(address=TOPIC), pb.RuleTarget(address="log")],
                detail_type=pb.RULE_DETAIL_TYPE_BASIC,
            )
            made = (await desk(desk.events.CreateNotificationRule, request)).rule
            assert made.arn.startswith("arn:aws:codestar-notifications:local:000000000000:notificationrule/")
            assert made.resource_arn == "arn:aws:codedeploy:local:000000000000:application:web"
            assert made.status == pb.RULE_STATUS_ENABLED
            assert [one.type for one in made.targets] == [
                pb.RULE_TARGET_TYPE_SNS,
                pb.RULE_TARGET_TYPE_SINK,
            ]
            everywhere = pb.CreateNotificationRuleRequest(
                name="all", event_type_ids=["deployment-failed"], targets=[pb.RuleTarget(address="log")]
            )
            await desk(desk.events.CreateNotificationRule, everywhere)
            await desk.fail("api")
            failed = await desk.fail()
            await server.wait_for(1)
            await other.wait_for(3)
            (basic,) = server.got
            assert basic.headers["Ferryman-Event-Type"] == "codedeploy-application-deployment-failed"
            assert set(basic.json) == {
                *(
                    "version",
                    "id",
                    "detail-type",
                    "source",
                    "account",
                    "time",
                    "region",
                    "resources",
                    "detail",
                ),
            }
            assert basic.json["detail"]["deploymentId"] == failed
            full = [one.json for one in other.got if "additionalAttributes" in one.json]
            assert {one["detail"]["application"] for one in full} == {"web", "api"}
            assert full[0]["additionalAttributes"]["status"] == "Failed"
            # Switched off, nothing more comes of it.
            off = pb.UpdateNotificationRuleRequest(rule=made.arn, status=pb.RULE_STATUS_DISABLED)
            assert (
                await desk(desk.events.UpdateNotificationRule, off)
            ).rule.status == pb.RULE_STATUS_DISABLED
            await desk.fail()
            await other.wait_for(4)
            assert len(server.got) == 1


@pytest.mark.req("CP-389")
async def test_the_life_of_a_rule_and_what_is_refused(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "data") as desk:
        await desk.populate()
        good: dict[str, Any] = {
            "name": "one",
            "application_name": "web",
            "event_type_ids": ["deployment-failed"],
            "targets": [pb.RuleTarget(address="nowhere")],
        }

        async def refused(**changes: Any) -> tuple[grpc.StatusCode, str, str]:
            request = pb.CreateNotificationRuleRequest(**{**good, **changes})
            code, fault = await refusal(desk(desk.events.CreateNotificationRule, request))
            return code, fault.reason, fault.message

        made = await desk(desk.events.CreateNotificationRule, pb.CreateNotificationRuleRequest(**good))
        assert "no sink stands for nowhere" in made.warnings[0]
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        assert (await refused())[:2] == (grpc.StatusCode.ALREADY_EXISTS, "ResourceAlreadyExistsException")
        assert (await refused(name="a b"))[:2] == (invalid, "ValidationException")
        assert (await refused(event_type_ids=[]))[:2] == (invalid, "ValidationException")
        assert (
            "there is no event type 'x'; there are deployment-started"
            in (await refused(event_type_ids=["x"]))[2]
        )
        assert (await refused(targets=[]))[:2] == (invalid, "ValidationException")
        assert (await refused(targets=[pb.RuleTarget(address="a\x07b")]))[:2] == (
            invalid,
            "ValidationException",
        )
        assert (await refused(application_name="no"))[1] == "ApplicationDoesNotExistException"
        assert (await refused(deployment_group_names=["no"]))[1] == "DeploymentGroupDoesNotExistException"
        assert (await refused(application_name="", deployment_group_names=["all"]))[1] == (
            "ApplicationNameRequiredException"
        )
        rename = pb.UpdateNotificationRuleRequest(
            rule="one", new_name="two", deployment_groups=pb.RuleGroups(names=["all"])
        )
        changed = (await desk(desk.events.UpdateNotificationRule, rename)).rule
        assert (changed.name, list(changed.deployment_group_names)) == ("two", ["all"])
        assert changed.event_type_ids == made.rule.event_type_ids
        get = pb.GetNotificationRuleRequest(rule="two")
        assert (await desk(desk.events.GetNotificationRule, get)).rule == changed
        listed = await desk(desk.events.ListNotificationRules, pb.ListNotificationRulesRequest())
        assert list(listed.rules) == [changed]
        delete = pb.DeleteNotificationRuleRequest(rule="two")
        await desk(desk.events.DeleteNotificationRule, delete)
        await desk(desk.events.DeleteNotificationRule, delete)
        code, fault = await refusal(desk(desk.events.GetNotificationRule, get))
        assert (code, fault.reason) == (grpc.StatusCode.NOT_FOUND, "ResourceNotFoundException")


@pytest.mark.req("CP-388")
async def test_rules_go_with_their_application(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "data") as desk:
        await desk.populate()
        request = pb.CreateNotificationRuleRequest(
            name="one",
            application_name="web",
            event_type_ids=["deployment-failed"],
            targets=[pb.RuleTarget(address="log")],
        )
        await desk(desk.events.CreateNotificationRule, request)
        await desk(desk.inventory.DeleteApplication, inventory_pb2.DeleteApplicationRequest(name="web"))
        listed = await desk(desk.events.ListNotificationRules, pb.ListNotificationRulesRequest())
        assert not listed.rules


@pytest.mark.req("PF-309")
async def test_a_target_is_tried_out_by_hand(tmp_path: Path) -> None:
    async with webhook_server() as server, open_desk(tmp_path / "data", sinks=sink_of(server)) as desk:
        found = await desk(desk.events.TestTarget, pb.TestTargetRequest(target="ops"))
        assert found.is_delivered
        server.behave = lambda received: b""
        found = await desk(desk.events.TestTarget, pb.TestTargetRequest(target=TOPIC))
        assert not found.is_delivered
        assert "cannot reach 127.0.0.1" in found.message


@pytest.mark.req("CP-434")
async def test_who_sees_one_application_hears_of_no_other(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "data") as desk:
        await desk.populate(trigger())
        await desk.populate(application="api")
        for name in ("web", "api"):
            await desk.fail(name)
        await desk.until(bool)
        bob = await person(
            desk.coordinator, "bob", "operator", on=("application:web", "deploymentgroup:web/*")
        )

        async def watch(**fields: Any) -> list[str]:
            stream = desk.events.WatchEvents(pb.WatchEventsRequest(after_position=0, **fields), metadata=bob)
            return [one.event.application_name async for one in stream if one.HasField("event")]

        async def denied(call: Awaitable[object]) -> None:
            assert (await refusal(call))[0] is grpc.StatusCode.PERMISSION_DENIED

        assert await watch(application_name="web") == ["web"]
        for request in (
            pb.WatchEventsRequest(after_position=0),
            pb.WatchEventsRequest(after_position=0, application_name="api"),
            pb.WatchEventsRequest(after_position=0, application_name="*"),
        ):
            await denied(desk.events.WatchEvents(request, metadata=bob).read())
        listed = await desk.events.ListDeliveries(pb.ListDeliveriesRequest(), metadata=bob)
        assert [one.application_name for one in listed.deliveries] == ["web"]
        replay = pb.ReplayDeliveriesRequest(all_dead=True, application_name="web")
        assert (await desk.events.ReplayDeliveries(replay, metadata=bob)).replayed == 1
        for replay in (
            pb.ReplayDeliveriesRequest(all_dead=True),
            # Of whatever group that is.
            pb.ReplayDeliveriesRequest(
                delivery_ids=[listed.deliveries[0].delivery_id], application_name="web"
            ),
        ):
            await denied(desk.events.ReplayDeliveries(replay, metadata=bob))
        rule: dict[str, Any] = {
            "name": "mine",
            "event_type_ids": ["deployment-failed"],
            "targets": [pb.RuleTarget(address="log")],
        }
        for name in ("", "api"):
            wish = pb.CreateNotificationRuleRequest(**rule, application_name=name)
            await denied(desk.events.CreateNotificationRule(wish, metadata=bob))
        wish = pb.CreateNotificationRuleRequest(**rule, application_name="web")
        await desk.events.CreateNotificationRule(wish, metadata=bob)
