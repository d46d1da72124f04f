"""What consumers of events get to read: payloads of triggers (CP 18.2, 18.3), the envelope (CP-386), and sentences.

Times and counts are strings (CP-377). The observed form is what the original's consumers see in practice (CP-379).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ferryman_coordinator.core.events import EventKind, EventState, PublishedEvent
from ferryman_coordinator.core.model import EventRecord, Instant

OVERVIEW = ("Failed", "InProgress", "Pending", "Skipped", "Succeeded")
"""Keys of `deploymentOverview`; `Successful` and `Total` are not among them (CP-378)."""

_DETAIL_TYPES = {
    EventKind.DEPLOYMENT: "CodeDeploy Deployment State-change Notification",
    EventKind.INSTANCE: "CodeDeploy Instance State-change Notification",
}

_OBSERVED = {"InProgress": "CREATED"}
"""The original tells of a start with the status that it had before."""

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where events come from, as ARNs and payloads say it (CP-021, CP-022)."""

    account_id: str
    region: str

    def application_arn(self, application: str) -> str:
        return f"{self._prefix}application:{application}"

    def group_arn(self, application: str, group: str) -> str:
        return f"{self._prefix}deploymentgroup:{application}/{group}"

    def cloud_arn(self, instance_id: str) -> str:
        """Of an instance that has no ARN of its own: its provider did not say one."""
        return f"arn:aws:ec2:{self.region}:{self.account_id}:instance/{instance_id}"

    @property
    def _prefix(self) -> str:
        return f"arn:aws:codedeploy:{self.region}:{self.account_id}:"


def epoch(at: Instant) -> str:
    """Seconds with milliseconds: 1446744188.595."""
    return f"{at // 1000}.{at % 1000:03d}"


# Triggers -------------------------------------------------------------------------------------------------------------


def deployment_payload(published: PublishedEvent, trigger_name: str, origin: Origin) -> Payload:
    """CP section 18.2."""
    event, facts = published.event, published.event.facts
    if facts is None:
        raise ValueError(f"event {event.event_id} is none of a deployment")
    payload: Payload = {
        "region": origin.region,
        "accountId": origin.account_id,
        "eventTriggerName": trigger_name,
        "applicationName": published.application_name,
        "deploymentId": event.deployment_id,
        "deploymentGroupName": published.group_name,
        "createTime": epoch(facts.created_at),
    }
    if facts.completed_at is not None:
        payload["completeTime"] = epoch(facts.completed_at)
    payload["deploymentOverview"] = {key: str(facts.overview.get(key, 0)) for key in OVERVIEW}
    payload["status"] = event.status
    if facts.error_code:
        payload["errorInformation"] = {"ErrorCode": facts.error_code, "ErrorMessage": facts.error_message}
    if facts.triggering_deployment_id:
        payload["rollbackInformation"] = {
            "RollbackTriggeringDeploymentId": facts.triggering_deployment_id,
            "RollbackMessage": facts.rollback_message,
        }
    return payload


def instance_payload(
    published: PublishedEvent, trigger_name: str, origin: Origin, events: Iterable[EventRecord]
) -> Payload:
    """CP section 18.3; `events` are all lifecycle events of the target, in order."""
    event = published.event
    return {
        "region": origin.region,
        "accountId": origin.account_id,
        "eventTriggerName": trigger_name,
        "deploymentId": event.deployment_id,
        "instanceId": published.instance_arn or origin.cloud_arn(event.instance_id),
        "lastUpdatedAt": epoch(event.at),
        "instanceStatus": event.status,
        "lifecycleEvents": [_lifecycle_event(one) for one in events],
    }


def _lifecycle_event(record: EventRecord) -> Payload:
    shown = {"LifecycleEvent": record.name, "LifecycleEventStatus": record.status.value}
    if record.started_at is not None:
        shown["StartTime"] = epoch(record.started_at)
    if record.ended_at is not None:
        shown["EndTime"] = epoch(record.ended_at)
    return shown


def observed(payload: Mapping[str, Any]) -> Payload:
    """The same as public consumers of the original see it: upper case, and JSON text inside of strings (CP-379)."""
    shown = {
        key: compact(value) if isinstance(value, dict | list) else value for key, value in payload.items()
    }
    for key in ("status", "instanceStatus"):
        if key in shown:
            shown[key] = _OBSERVED.get(shown[key], shown[key].upper())
    return shown


def compact(payload: object) -> str:
    """JSON without blanks."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False)


def check_message(trigger_name: str, application: str, group: str, origin: Origin) -> Payload:
    """What is sent when a trigger was created or changed (CP-370)."""
    return {
        "region": origin.region,
        "accountId": origin.account_id,
        "eventTriggerName": trigger_name,
        "applicationName": application,
        "deploymentGroupName": group,
        "testMessage": "This is a test message of Ferryman: the trigger is set up, and nothing was deployed.",
    }


# Rules and the stream -------------------------------------------------------------------------------------------------


def envelope(published: PublishedEvent, origin: Origin) -> Payload:
    """CP-386."""
    event = published.event
    arns = [
        origin.group_arn(published.application_name, published.group_name),
        origin.application_arn(published.application_name),
    ]
    detail: Payload = {
        "region": origin.region,
        "deploymentId": event.deployment_id,
        "instanceGroupId": published.group_id,
        "application": published.application_name,
        "deploymentGroup": published.group_name,
        "state": event.state.value,
    }
    if event.kind is EventKind.INSTANCE:
        arns.insert(0, published.instance_arn or origin.cloud_arn(event.instance_id))
        detail["instanceId"] = event.instance_id
    return {
        "version": "0",
        "id": event.event_id,
        "detail-type": _DETAIL_TYPES[event.kind],
        "source": "aws.codedeploy",
        "account": origin.account_id,
        "time": datetime.fromtimestamp(event.at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": origin.region,
        "resources": arns,
        "detail": detail,
    }


def full(published: PublishedEvent, origin: Origin, events: Iterable[EventRecord] = ()) -> Payload:
    """The envelope, with what triggers say beside it (CP-390)."""
    if published.event.kind is EventKind.DEPLOYMENT:
        more = deployment_payload(published, "", origin)
    else:
        more = instance_payload(published, "", origin, events)
    del more["eventTriggerName"]
    return {**envelope(published, origin), "additionalAttributes": more}


# For people -----------------------------------------------------------------------------------------------------------

_WORDS = {
    EventState.START: "has started",
    EventState.QUEUED: "is queued",
    EventState.READY: "is ready",
    EventState.SUCCESS: "has succeeded",
    EventState.FAILURE: "has failed",
    EventState.STOP: "was stopped",
    EventState.ROLLBACK: "was created as a rollback",
}


def sentence(published: PublishedEvent) -> str:
    """One line for a chat or a subject."""
    event, facts = published.event, published.event.facts
    where = f"{published.application_name} to {published.group_name}"
    if event.kind is EventKind.INSTANCE:
        return f"Instance {event.instance_id} {_WORDS[event.state]} in deployment {event.deployment_id} of {where}"
    text = f"Deployment {event.deployment_id} of {where} {_WORDS[event.state]}"
    if facts is not None and event.state is EventState.ROLLBACK:
        return f"{text} of {facts.triggering_deployment_id}"
    if facts is not None and facts.error_code:
        return f"{text}: {facts.error_code}: {' '.join(facts.error_message.split())}"
    return text
