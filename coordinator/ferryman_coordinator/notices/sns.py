"""Topics of Amazon SNS, or of a service that speaks like it, through botocore in threads of its own (ADR 4)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ferryman_coordinator.config.sinks import Sink
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.notices.message import Failure, Message

_AT_ONCE = 4
_SUBJECT = 100
_OF_THIS_MESSAGE = frozenset({"InvalidParameter", "InvalidParameterValue", "ValidationException"})
_OTHER_KEYS = ("env", "boto-config", "container-role", "iam-role")


class SnsOutlet:
    """Publishes to the target's own ARN, unless the sink names a topic."""

    def __init__(self, name: str, sink: Sink) -> None:
        self._name = name
        self._sink = sink
        self._threads: ThreadPoolExecutor | None = None
        # By region.
        self._clients: dict[str, Any] = {}

    async def send(self, message: Message, now: Instant) -> Failure | None:
        """See `Outlet.send`."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_AT_ONCE, f"sns-{self._name}")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._publish, message)

    async def close(self) -> None:
        """What is under way ends by its time-out."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _publish(self, message: Message) -> Failure | None:
        from botocore.exceptions import BotoCoreError, ClientError

        topic = self._sink.topic_arn or message.target
        try:
            self._client(topic).publish(
                TopicArn=topic, Message=message.body, Subject=subject(message.text), **_more(topic, message)
            )
        except ClientError as problem:
            error = problem.response.get("Error", {})
            code = str(error.get("Code", ""))
            return Failure(
                reason=f"SNS refuses to publish to {topic}: {code}: {error.get('Message', '')}",
                is_sink_down=code not in _OF_THIS_MESSAGE,
            )
        except (BotoCoreError, ValueError, OSError) as problem:
            return Failure(reason=f"cannot publish to {topic}: {' '.join(str(problem).split())}")
        return None

    def _client(self, topic: str) -> Any:
        region = self._sink.region or (topic.split(":") + [""] * 4)[3]
        if region not in self._clients:
            self._clients[region] = self._make_client(region)
        return self._clients[region]

    def _make_client(self, region: str) -> Any:
        """Raises what botocore raises, and OSError for a file that is not there."""
        from botocore.config import Config
        from botocore.session import Session

        sink = self._sink
        session = Session()
        if sink.credentials_file:
            if not Path(sink.credentials_file).is_file():
                raise OSError(f"there is no file {sink.credentials_file}, which credentials_file names")
            session.set_config_variable("credentials_file", sink.credentials_file)
            # Only this file: the process's environment, or the machine, might have other keys.
            for other in _OTHER_KEYS:
                session.get_component("credential_provider").remove(other)
        seconds = sink.timeout / 1000
        return session.create_client(
            "sns",
            region_name=region or None,
            endpoint_url=sink.url or None,
            verify=sink.ca_file or None,
            config=Config(
                connect_timeout=seconds,
                read_timeout=seconds,
                # We try again ourselves, in order.
                retries={"total_max_attempts": 1},
                proxies={"http": sink.proxy, "https": sink.proxy} if sink.proxy else None,
            ),
        )


def subject(text: str) -> str:
    """What SNS takes: at most 100 characters of ASCII, beginning with a letter or digit."""
    plain = "".join(one if " " <= one <= "~" else "?" for one in text).lstrip("? ")
    return plain[:_SUBJECT] or "Ferryman"


def _more(topic: str, message: Message) -> dict[str, Any]:
    attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in (("event_id", message.event_id), ("event_type", message.event_type))
        if value
    }
    more: dict[str, Any] = {"MessageAttributes": attributes}
    if topic.endswith(".fifo"):
        # In order per deployment there as well, and once.
        more |= {"MessageGroupId": message.deployment_id, "MessageDeduplicationId": message.delivery_id}
    return more
