"""What autoscalers that want a callback are told, and who hears of a loop of launches.

Sent like the messages of triggers: stored with what they tell of, signed, retried, put aside when nobody takes them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from ferryman_coordinator.core.group_options import Trigger
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.scaling import LifecycleAction
from ferryman_coordinator.engine.scaling_view import End
from ferryman_coordinator.store.event_records import Delivery, DeliverySource
from ferryman_coordinator.store.records import to_json

_NAMESPACE = uuid.UUID("9d1f0c52-6f0e-4d5c-8a54-2d6a6f7a1b11")
"""Fixed for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message on its way. `lane`: messages of one lane arrive in their order."""

    event: str
    lane: str
    target: str
    event_type: str
    source_name: str
    application_name: str
    group_name: str
    body: str
    text: str
    at: Instant

    def delivery(self, position: int) -> Delivery:
        """The same one, whenever it is made of the same event."""
        return Delivery(
            delivery_id=str(uuid.uuid5(_NAMESPACE, f"{self.event}/{self.target}")),
            position=position,
            event_id=str(uuid.uuid5(_NAMESPACE, self.event)),
            deployment_id=self.lane,
            application_name=self.application_name,
            group_name=self.group_name,
            source=DeliverySource.AUTOSCALING,
            source_name=self.source_name,
            target=self.target,
            event_type=self.event_type,
            body=self.body,
            text=self.text,
            created_at=self.at,
            waiting_since=self.at,
            next_at=self.at,
        )


def notice_of(action: LifecycleAction, kind: str, now: Instant) -> Notice:
    """`kind` is heartbeat or complete; the members of the body are called as in an autoscaler's own notification."""
    hooks = [step.hook for step in action.steps]
    body = {
        "Action": kind,
        "AutoScalingGroupName": action.auto_scaling_group,
        "LifecycleHookName": hooks[0] if hooks else "",
        "LifecycleActionToken": action.token,
        "EC2InstanceId": action.instance_id,
        "LifecycleTransition": action.transition.value,
        "LifecycleActionResult": action.result.value if action.result else "",
        "DeploymentIds": [step.deployment_id for step in action.steps if step.deployment_id],
        "Messages": [*action.messages, *(step.message for step in action.steps if step.message)],
        "Time": now,
    }
    said = action.result.value if action.result else f"heartbeat {action.heartbeats}"
    first = action.steps[0] if action.steps else None
    return Notice(
        event=f"{action.auto_scaling_group}/{action.token}/{kind}/{action.heartbeats}",
        lane=action.instance_id,
        target=action.callback,
        event_type=f"autoscaling.{kind}",
        source_name=action.auto_scaling_group,
        application_name=first.application_name if first else "",
        group_name=first.group_name if first else "",
        body=to_json(body),
        text=f"{action.auto_scaling_group}: {action.instance_id} {action.transition.value}: {said}",
        at=now,
    )


def loop_notice(action: LifecycleAction, number: int, trigger: Trigger, end: End, now: Instant) -> Notice:
    """For who waits for failed deployments of the group (CP-403)."""
    step = action.steps[number]
    text = (
        f"launches of {action.auto_scaling_group} fail again and again at deployment group {step.group_name} of"
        f" {step.application_name}, last with {end.deployment_id}: {end.message}"
    )
    body = {
        "Action": "launchLoop",
        "AutoScalingGroupName": action.auto_scaling_group,
        "LifecycleHookName": step.hook,
        "EC2InstanceId": action.instance_id,
        "applicationName": step.application_name,
        "deploymentGroupName": step.group_name,
        "deploymentId": end.deployment_id,
        "message": end.message,
        "Time": now,
    }
    return Notice(
        event=f"loop/{end.deployment_id}/{trigger.name}",
        lane=end.deployment_id,
        target=trigger.target_arn,
        event_type="autoscaling.launchLoop",
        source_name=trigger.name,
        application_name=step.application_name,
        group_name=step.group_name,
        body=to_json(body),
        text=text,
        at=now,
    )
