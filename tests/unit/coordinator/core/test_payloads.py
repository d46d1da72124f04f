"""What consumers get to read of events."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ferryman_coordinator.core import payloads
from ferryman_coordinator.core.events import (
    DeploymentFacts,
    EventKind,
    EventState,
    PublishedEvent,
    StateEvent,
)
from ferryman_coordinator.core.model import DeploymentId, EventRecord, EventStatus, InstanceId, Instant
from ferryman_coordinator.core.payloads import Origin
from ferryman_coordinator.core.rules import (
    DetailType,
    NotificationRule,
    RuleEvent,
    RuleStatus,
    RuleTarget,
    RuleTargetType,
    rule_event,
    rule_event_named,
)

NOW = Instant(1_446_744_188_595)
ORIGIN = Origin(account_id="123456789012", region="eu-1")

FACTS = DeploymentFacts(created_at=NOW, overview={"Pending": 2, "Ready": 1})
EVENT = StateEvent(
    event_id="event-1",
    kind=EventKind.DEPLOYMENT,
    state=EventState.START,
    status="InProgress",
    deployment_id=DeploymentId("d-1"),
    instance_id=InstanceId(""),
    at=NOW,
    facts=FACTS,
)
OF_DEPLOYMENT = PublishedEvent(
    position=1,
    event=EVENT,
    application_id="app-1",
    application_name="web",
    group_id="group-1",
    group_name="prod",
)
OF_INSTANCE = replace(
    OF_DEPLOYMENT,
    event=replace(
        EVENT, kind=EventKind.INSTANCE, instance_id=InstanceId("i-1"), facts=None, status="Succeeded"
    ),
    instance_arn="arn:aws:ec2:eu-1:123456789012:instance/i-1",
)


@pytest.mark.req("CP-377", "CP-378")
def test_a_start_has_no_end_and_no_error() -> None:
    assert payloads.deployment_payload(OF_DEPLOYMENT, "ops", ORIGIN) == {
        "region": "eu-1",
        "accountId": "123456789012",
        "eventTriggerName": "ops",
        "applicationName": "web",
        "deploymentId": "d-1",
        "deploymentGroupName": "prod",
        "createTime": "1446744188.595",
        "deploymentOverview": {
            "Failed": "0",
            "InProgress": "0",
            "Pending": "2",
            "Skipped": "0",
            "Succeeded": "0",
        },
        "status": "InProgress",
    }


@pytest.mark.req("CP-351", "T60")
def test_a_rollback_says_of_what() -> None:
    facts = replace(FACTS, triggering_deployment_id="d-0", rollback_message="because")
    rollback = replace(OF_DEPLOYMENT, event=replace(EVENT, state=EventState.ROLLBACK, facts=facts))
    payload = payloads.deployment_payload(rollback, "ops", ORIGIN)
    assert payload["rollbackInformation"] == {
        "RollbackTriggeringDeploymentId": "d-0",
        "RollbackMessage": "because",
    }
    assert payloads.sentence(rollback) == "Deployment d-1 of web to prod was created as a rollback of d-0"


@pytest.mark.req("CP-377")
def test_an_instance_shows_its_lifecycle_events() -> None:
    events = [
        EventRecord(name="Install", status=EventStatus.SUCCEEDED, started_at=NOW, ended_at=Instant(NOW + 5)),
        EventRecord(name="AfterInstall", status=EventStatus.PENDING),
    ]
    payload = payloads.instance_payload(OF_INSTANCE, "ops", ORIGIN, events)
    assert payload == {
        "region": "eu-1",
        "accountId": "123456789012",
        "eventTriggerName": "ops",
        "deploymentId": "d-1",
        "instanceId": "arn:aws:ec2:eu-1:123456789012:instance/i-1",
        "lastUpdatedAt": "1446744188.595",
        "instanceStatus": "Succeeded",
        "lifecycleEvents": [
            {
                "LifecycleEvent": "Install",
                "LifecycleEventStatus": "Succeeded",
                "StartTime": "1446744188.595",
                "EndTime": "1446744188.600",
            },
            {"LifecycleEvent": "AfterInstall", "LifecycleEventStatus": "Pending"},
        ],
    }
    seen = payloads.observed(payload)
    assert seen["instanceStatus"] == "SUCCEEDED"
    assert json.loads(seen["lifecycleEvents"]) == payload["lifecycleEvents"]


@pytest.mark.req("CP-379")
@pytest.mark.parametrize(
    "status, shown",
    [("InProgress", "CREATED"), ("Succeeded", "SUCCEEDED"), ("Failed", "FAILED"), ("Stopped", "STOPPED")],
)
def test_the_observed_form(status: str, shown: str) -> None:
    event = replace(OF_DEPLOYMENT, event=replace(EVENT, status=status))
    payload = payloads.deployment_payload(event, "ops", ORIGIN)
    seen = payloads.observed(payload)
    assert seen["status"] == shown
    assert json.loads(seen["deploymentOverview"]) == payload["deploymentOverview"]
    assert all(isinstance(value, str) for value in seen.values())


@pytest.mark.req("CP-386")
def test_the_envelope_of_an_instance_names_it_first() -> None:
    envelope = payloads.envelope(OF_INSTANCE, ORIGIN)
    assert envelope["detail-type"] == "CodeDeploy Instance State-change Notification"
    assert envelope["time"] == "2015-11-05T17:23:08Z"
    assert envelope["resources"] == [
        "arn:aws:ec2:eu-1:123456789012:instance/i-1",
        "arn:aws:codedeploy:eu-1:123456789012:deploymentgroup:web/prod",
        "arn:aws:codedeploy:eu-1:123456789012:application:web",
    ]
    assert envelope["detail"]["instanceId"] == "i-1"


@pytest.mark.req("CP-390")
def test_full_says_more_and_basic_does_not() -> None:
    basic, full = payloads.envelope(OF_DEPLOYMENT, ORIGIN), payloads.full(OF_DEPLOYMENT, ORIGIN)
    more = full.pop("additionalAttributes")
    assert full == basic
    assert more["deploymentOverview"]["Pending"] == "2"
    assert "eventTriggerName" not in more


def test_a_sentence_is_one_line() -> None:
    facts = replace(FACTS, error_code="HEALTH_CONSTRAINTS", error_message="two\nlines")
    failed = replace(OF_DEPLOYMENT, event=replace(EVENT, state=EventState.FAILURE, facts=facts))
    assert payloads.sentence(failed) == (
        "Deployment d-1 of web to prod has failed: HEALTH_CONSTRAINTS: two lines"
    )
    assert payloads.sentence(OF_INSTANCE) == "Instance i-1 has started in deployment d-1 of web to prod"


RULE = NotificationRule(
    rule_id="r-1",
    arn="",
    name="one",
    events=(RuleEvent.DEPLOYMENT_STARTED,),
    targets=(RuleTarget(type=RuleTargetType.SINK, address="ops"),),
    created_at=NOW,
    updated_at=NOW,
)


@pytest.mark.req("CP-384", "CP-389")
@pytest.mark.parametrize(
    "rule, wanted",
    [
        (RULE, True),
        (replace(RULE, application_id="app-1"), True),
        (replace(RULE, application_id="app-2"), False),
        (replace(RULE, application_id="app-1", group_ids=("group-1", "group-2")), True),
        (replace(RULE, application_id="app-1", group_ids=("group-2",)), False),
        (replace(RULE, status=RuleStatus.DISABLED), False),
        (replace(RULE, events=(RuleEvent.INSTANCE_STARTED, RuleEvent.DEPLOYMENT_FAILED)), False),
    ],
)
def test_what_a_rule_wants(rule: NotificationRule, wanted: bool) -> None:
    assert rule.wants(OF_DEPLOYMENT) is wanted
    assert rule.detail_type is DetailType.FULL


@pytest.mark.req("CP-389", "CP-391")
def test_event_types_have_the_ids_of_the_original() -> None:
    assert rule_event_named("deployment-failed") is RuleEvent.DEPLOYMENT_FAILED
    assert rule_event_named("codedeploy-application-deployment-succeeded") is RuleEvent.DEPLOYMENT_SUCCEEDED
    assert rule_event_named("deployment") is None
    pairs = [(kind, state) for kind in EventKind for state in EventState]
    assert {rule_event(*pair) for pair in pairs} - {None} == set(RuleEvent)
