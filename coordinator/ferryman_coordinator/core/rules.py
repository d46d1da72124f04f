"""Rules: who wants to hear of which events, whatever the triggers of a group say (CP-384 to CP-391)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ferryman_coordinator.core.events import EventKind, EventState, PublishedEvent
from ferryman_coordinator.core.model import Instant

_PREFIX = "codedeploy-application-"


class RuleEvent(StrEnum):
    """CP-389; from `stopped` on they are ours (CP-391), and so are those of instances (CP-384)."""

    DEPLOYMENT_STARTED = "codedeploy-application-deployment-started"
    DEPLOYMENT_SUCCEEDED = "codedeploy-application-deployment-succeeded"
    DEPLOYMENT_FAILED = "codedeploy-application-deployment-failed"
    DEPLOYMENT_STOPPED = "codedeploy-application-deployment-stopped"
    DEPLOYMENT_QUEUED = "codedeploy-application-deployment-queued"
    DEPLOYMENT_READY = "codedeploy-application-deployment-ready"
    DEPLOYMENT_ROLLBACK = "codedeploy-application-deployment-rollback"
    INSTANCE_STARTED = "codedeploy-application-instance-started"
    INSTANCE_SUCCEEDED = "codedeploy-application-instance-succeeded"
    INSTANCE_FAILED = "codedeploy-application-instance-failed"
    INSTANCE_READY = "codedeploy-application-instance-ready"

    @property
    def short(self) -> str:
        """As people write it: deployment-failed."""
        return self.value.removeprefix(_PREFIX)


_EVENTS = {
    (EventKind.DEPLOYMENT, EventState.START): RuleEvent.DEPLOYMENT_STARTED,
    (EventKind.DEPLOYMENT, EventState.SUCCESS): RuleEvent.DEPLOYMENT_SUCCEEDED,
    (EventKind.DEPLOYMENT, EventState.FAILURE): RuleEvent.DEPLOYMENT_FAILED,
    (EventKind.DEPLOYMENT, EventState.STOP): RuleEvent.DEPLOYMENT_STOPPED,
    (EventKind.DEPLOYMENT, EventState.QUEUED): RuleEvent.DEPLOYMENT_QUEUED,
    (EventKind.DEPLOYMENT, EventState.READY): RuleEvent.DEPLOYMENT_READY,
    (EventKind.DEPLOYMENT, EventState.ROLLBACK): RuleEvent.DEPLOYMENT_ROLLBACK,
    (EventKind.INSTANCE, EventState.START): RuleEvent.INSTANCE_STARTED,
    (EventKind.INSTANCE, EventState.SUCCESS): RuleEvent.INSTANCE_SUCCEEDED,
    (EventKind.INSTANCE, EventState.FAILURE): RuleEvent.INSTANCE_FAILED,
    (EventKind.INSTANCE, EventState.READY): RuleEvent.INSTANCE_READY,
}


def rule_event(kind: EventKind, state: EventState) -> RuleEvent | None:
    """What rules call that event."""
    return _EVENTS.get((kind, state))


def rule_event_named(text: str) -> RuleEvent | None:
    """The one with that id or short name; None when there is none."""
    for event in RuleEvent:
        if text in (event.value, event.short):
            return event
    return None


class RuleStatus(StrEnum):
    """API:NotificationRuleStatus."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class DetailType(StrEnum):
    """How much a rule's messages say (CP-390)."""

    BASIC = "BASIC"
    FULL = "FULL"


class RuleTargetType(StrEnum):
    """What is at an address; the settings say how to get there."""

    SNS = "SNS"
    SINK = "SINK"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTarget:
    """`address`: an ARN or the name of a sink in the coordinator's settings."""

    type: RuleTargetType
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRule:
    """Empty `application_id` stands for every application, empty `group_ids` for all of its groups (CP-384)."""

    rule_id: str
    arn: str
    name: str
    application_id: str = ""
    # Follows renames; for people.
    application_name: str = ""
    resource_arn: str = ""
    group_ids: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    events: tuple[RuleEvent, ...]
    targets: tuple[RuleTarget, ...]
    status: RuleStatus = RuleStatus.ENABLED
    detail_type: DetailType = DetailType.FULL
    created_at: Instant
    updated_at: Instant

    def wants(self, published: PublishedEvent) -> bool:
        """Whether its targets are to hear of the event."""
        return (
            self.status is RuleStatus.ENABLED
            and self.application_id in ("", published.application_id)
            and (not self.group_ids or published.group_id in self.group_ids)
            and rule_event(published.event.kind, published.event.state) in self.events
        )
