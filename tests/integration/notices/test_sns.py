"""Messages for topics of SNS, on a pretend one (moto): what is published, and what its refusals mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.config.sinks import Sink, SinkKind
from ferryman_coordinator.config.values import Duration
from ferryman_coordinator.core.group_options import GroupOptions, Trigger, TriggerEventType
from ferryman_coordinator.notices.message import Message
from ferryman_coordinator.notices.sns import SnsOutlet, subject
from tests.support.clock import START
from tests.support.engine_world import fresh_world
from tests.support.notices import delivered, running_office
from tests.support.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server, s3_server

__all__ = ["s3_server"]

ENDS = (TriggerEventType.DEPLOYMENT_SUCCESS,)


class Topic:
    """With a queue behind it, to see what arrives."""

    def __init__(self, server: S3Server, name: str) -> None:
        from botocore.session import Session

        def client(service: str) -> Any:
            return Session().create_client(
                service,
                region_name=REGION,
                endpoint_url=server.url,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
            )

        fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        queue = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        self._sqs = client("sqs")
        sns = client("sns")
        self.arn = sns.create_topic(Name=name, Attributes=fifo)["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName=name, Attributes=queue)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])

    def messages(self) -> list[dict[str, Any]]:
        got = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
        return [json.loads(one["Body"]) for one in got.get("Messages", [])]


def sink(server: S3Server, home: Path, **settings: Any) -> Sink:
    keys = home / "sns.keys"
    keys.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    values = {
        "kind": SinkKind.SNS,
        "arn": f"arn:aws:sns:{REGION}:*",
        "url": server.url,
        "credentials_file": str(keys),
        **settings,
    }
    return Sink(**values)


def message(target: str, body: str = "{}") -> Message:
    return Message(
        delivery_id="delivery-1",
        event_id="event-1",
        event_type="DeploymentSuccess",
        deployment_id="d-1",
        target=target,
        body=body,
        text="Deployment d-1 of wéb has succeeded",
    )


@pytest.mark.req("CP-374", "PF-307")
async def test_a_deployment_is_told_to_a_real_topic(tmp_path: Path, s3_server: S3Server) -> None:
    topic = Topic(s3_server, "deploys")
    options = GroupOptions(triggers=(Trigger(name="ops", target_arn=topic.arn, events=ENDS),))
    async with fresh_world(tmp_path) as world:
        await world.start()
        await world.populate(1, options=options)
        world.connect()
        async with running_office(world, {"aws": sink(s3_server, tmp_path)}):
            deployment_id = await world.deploy()
            await world.finished(deployment_id)
            await delivered(world, 1)
    (got,) = topic.messages()
    assert got["Subject"] == f"Deployment {deployment_id} of web to production has succeeded"
    assert json.loads(got["Message"])["status"] == "Succeeded"
    assert got["MessageAttributes"]["event_type"]["Value"] == "DeploymentSuccess"


async def test_a_fifo_topic_keeps_the_order_of_each_deployment(tmp_path: Path, s3_server: S3Server) -> None:
    topic = Topic(s3_server, "ordered.fifo")
    outlet = SnsOutlet("aws", sink(s3_server, tmp_path))
    # The second one is a repetition.
    for _ in range(2):
        assert await outlet.send(message(topic.arn), START) is None
    await outlet.close()
    assert len(topic.messages()) == 1


async def test_what_sns_refuses_says_why(tmp_path: Path, s3_server: S3Server) -> None:
    outlet = SnsOutlet("aws", sink(s3_server, tmp_path))
    failure = await outlet.send(message(f"arn:aws:sns:{REGION}:123456789012:no-such"), START)
    assert failure is not None
    assert "NotFound" in failure.reason
    assert failure.is_sink_down
    await outlet.close()
    away = Sink(
        kind=SinkKind.SNS,
        url="http://127.0.0.1:1",
        credentials_file=str(tmp_path / "sns.keys"),
        timeout=Duration(500),
    )
    outlet = SnsOutlet("away", away)
    failure = await outlet.send(message(f"arn:aws:sns:{REGION}:123456789012:x"), START)
    assert failure is not None
    assert "127.0.0.1:1" in failure.reason
    await outlet.close()
    outlet = SnsOutlet("keyless", sink(s3_server, tmp_path, credentials_file=str(tmp_path / "none")))
    failure = await outlet.send(message(f"arn:aws:sns:{REGION}:123456789012:x"), START)
    assert failure is not None
    assert "there is no file" in failure.reason
    await outlet.close()


def test_a_subject_is_what_sns_takes() -> None:
    assert subject("Deployment d-1 of wéb") == "Deployment d-1 of w?b"
    assert len(subject("x" * 300)) == 100
    assert subject("✓✓") == "Ferryman"
    assert subject("line\nbreak") == "line?break"
