"""Alarms of CloudWatch, and of what speaks like it: DescribeAlarms, a hundred names a call.

Through botocore in threads of its own: an endpoint that hangs must not keep anybody else from theirs. Keys are read
again when their file has changed; those of the machine's role botocore renews by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from ferryman_coordinator.alarms.source import MOST_NAMES, Answer, Seen, Unread
from ferryman_coordinator.alarms.web import shown
from ferryman_coordinator.config.alarm_sources import AlarmSourceSettings
from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.errors import Unreachable

_AT_ONCE = 2
_NAMES_A_CALL = 100
_CONNECT_S = 2
_TYPES = ["MetricAlarm", "CompositeAlarm"]
_STATES = {state.value: state for state in (AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA)}
_OTHER_KEYS = ("env", "boto-config", "container-role", "iam-role")


class CloudWatchSource:
    """See `source.AlarmSource`."""

    def __init__(self, name: str, settings: AlarmSourceSettings) -> None:
        self.name = name
        self.place = settings.url or f"CloudWatch{' in ' + settings.region if settings.region else ''}"
        self._settings = settings
        self._threads = ThreadPoolExecutor(_AT_ONCE, f"alarms-{name}")
        self._client: Any = None
        # Of the keys' file, when the client was made.
        self._made_of: object = None

    def may_know(self, alarm: str) -> bool:
        return True

    async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
        names = sorted(alarms)
        parts = [names[place : place + _NAMES_A_CALL] for place in range(0, len(names), _NAMES_A_CALL)]
        answers: Mapping[str, Answer] = await self._in_thread(self._describe, parts)
        return answers

    async def names(self) -> Sequence[str]:
        return sorted(await self._in_thread(self._list))[:MOST_NAMES]

    async def _in_thread(self, work: Any, *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._guarded, work, *given)

    # In a thread ------------------------------------------------------------------------------------------------------

    def _guarded(self, work: Any, *given: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return work(self._present_client(), *given)
        except ClientError as refused:
            error = refused.response.get("Error", {})
            # Keys that were replaced otherwise than by their file.
            self._client = None
            raise Unreachable(
                "AlarmSourceUnreachable",
                f"{self.place} refuses: {shown(str(error.get('Code', '')))} {shown(str(error.get('Message', '')))}",
            ) from refused
        except (BotoCoreError, OSError, ValueError) as problem:
            raise Unreachable(
                "AlarmSourceUnreachable", f"cannot ask {self.place}: {shown(str(problem))}"
            ) from problem

    def _present_client(self) -> Any:
        file = self._settings.credentials_file
        made_of = Path(file).stat().st_mtime_ns if file else None
        if self._client is None or made_of != self._made_of:
            self._client, self._made_of = self._make_client(), made_of
        return self._client

    def _make_client(self) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        settings = self._settings
        session = Session(profile=settings.profile or None)
        if settings.credentials_file:
            session.set_config_variable("credentials_file", settings.credentials_file)
            # Only this file: the process's environment, or the machine, might have other keys.
            for other in _OTHER_KEYS:
                session.get_component("credential_provider").remove(other)
        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=max(1, settings.timeout // 1000 - _CONNECT_S),
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        return session.create_client(
            "cloudwatch",
            region_name=settings.region or session.get_config_variable("region") or "us-east-1",
            endpoint_url=settings.url or None,
            verify=settings.ca_file or None,
            config=config,
        )

    def _describe(self, client: Any, parts: Sequence[Sequence[str]]) -> Mapping[str, Answer]:
        found: dict[str, Answer] = {}
        for names in parts:
            answer = client.describe_alarms(AlarmNames=names, AlarmTypes=_TYPES, MaxRecords=_NAMES_A_CALL)
            found.update({str(one["AlarmName"]): _answer(one) for one in _alarms(answer)})
        return found

    def _list(self, client: Any) -> Sequence[str]:
        names: list[str] = []
        more: dict[str, str] = {}
        while len(names) < MOST_NAMES:
            answer = client.describe_alarms(AlarmTypes=_TYPES, MaxRecords=_NAMES_A_CALL, **more)
            names += [str(one["AlarmName"]) for one in _alarms(answer)]
            if not answer.get("NextToken"):
                break
            more = {"NextToken": answer["NextToken"]}
        return names


def _alarms(answer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())]


def _answer(alarm: Mapping[str, Any]) -> Answer:
    state = _STATES.get(str(alarm.get("StateValue", "")))
    if state is None:
        return Unread(f"it is in a state of its own, {shown(str(alarm.get('StateValue', '')))}")
    since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
    return Seen(
        state=state,
        since=Instant(int(since.timestamp() * 1000)) if isinstance(since, datetime) else None,
        detail=shown(str(alarm.get("StateReason") or "")),
    )
