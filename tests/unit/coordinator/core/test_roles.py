"""The ready-made roles against the specification's own words."""

from __future__ import annotations

import pytest

from docs.draw_access import PAGE, page
from ferryman_coordinator.core import resources
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.rights import Circumstances, Rights
from ferryman_coordinator.core.roles import (
    ACTIONS,
    DESCRIPTIONS,
    GRANTABLE,
    MATRIX,
    RoleName,
    actions_of,
    is_read,
    ready_made,
    smallest_role,
    statements_of,
)

READ_WORDS = ("Get", "List", "BatchGet", "Describe")
# What agents read of their own commands is no reading of people.
NOT_PEOPLES = {"codedeploy:GetDeploymentSpecification"}


def may(role: RoleName, action: str) -> bool:
    return Rights(statements_of(role)).everywhere(action)


def test_no_action_stands_in_two_rows() -> None:
    assert sum(len(row.operations) for row in MATRIX) == len(ACTIONS)


@pytest.mark.req("CP-438")
def test_each_role_may_exactly_what_the_table_says() -> None:
    for role in RoleName:
        for action, row in ACTIONS.items():
            expected = role in row.roles or role is RoleName.ADMIN
            assert may(role, action) is expected, (role, action)


@pytest.mark.req("CP-438", "PF-245")
def test_the_three_roles_of_the_original() -> None:
    for action in ACTIONS:
        is_codedeploy = action.startswith("codedeploy:")
        is_reading = action.partition(":")[2].startswith(READ_WORDS) and action not in NOT_PEOPLES
        if is_codedeploy:
            assert may(RoleName.VIEWER, action) is is_reading, action
        assert may(RoleName.ADMIN, action)
    deployer = set(actions_of(RoleName.DEPLOYER)) - set(actions_of(RoleName.VIEWER))
    assert {action for action in deployer if action.startswith("codedeploy:")} == {
        "codedeploy:RegisterApplicationRevision",
        "codedeploy:CreateDeployment",
        "codedeploy:CreateNotificationRule",
        "codedeploy:UpdateNotificationRule",
        "codedeploy:Subscribe",
        "codedeploy:Unsubscribe",
    }


@pytest.mark.req("CP-439")
def test_agents_may_four_things() -> None:
    assert {action.partition(":")[2] for action in actions_of(RoleName.AGENT)} == {
        "GetDeploymentSpecification",
        "PollHostCommand",
        "PutHostCommandAcknowledgement",
        "PutHostCommandComplete",
    }
    assert ready_made("agent") is None


def test_whoever_keeps_the_users_does_not_deploy() -> None:
    for role in (RoleName.SECURITY_ADMIN, RoleName.AUDITOR):
        assert not may(role, "codedeploy:CreateDeployment")
        assert not may(role, "codedeploy:GetDeployment")
        assert may(role, "ferryman:ListAuditRecords")
    assert not [action for action in actions_of(RoleName.AUDITOR) if not is_read(action)]
    for role in (RoleName.VIEWER, RoleName.DEPLOYER, RoleName.OPERATOR, RoleName.CI, RoleName.REGISTRAR):
        assert not [one for one in actions_of(role) if "User" in one or "Access" in one or "Audit" in one]


def test_stopping_and_continuing_are_apart_from_creating() -> None:
    for action in ("codedeploy:StopDeployment", "codedeploy:ContinueDeployment"):
        assert not may(RoleName.DEPLOYER, action)
        assert may(RoleName.OPERATOR, action)


def test_a_role_on_named_applications_reaches_nothing_else() -> None:
    (statement,) = statements_of(RoleName.ADMIN)
    scoped = Rights([type(statement)(effect=statement.effect, actions=("*",), within=("application:web*",))])
    now = Circumstances(source="", at=Instant(0))
    assert scoped.decide("codedeploy:DeleteApplication", resources.application("web1"), now).is_allowed
    for resource in (resources.user("ann"), resources.role("x"), resources.application("shop")):
        assert not scoped.decide("ferryman:CreateUser", resource, now).is_allowed


def test_every_role_is_described_and_can_be_asked_for() -> None:
    assert set(DESCRIPTIONS) == set(RoleName)
    for action in ACTIONS:
        role = smallest_role(action)
        assert role in (*GRANTABLE,)
        if RoleName.AGENT not in ACTIONS[action].roles:
            assert may(role, action)
    assert smallest_role("codedeploy:CreateDeployment") is RoleName.DEPLOYER
    assert smallest_role("ferryman:SomethingNew") is RoleName.ADMIN


@pytest.mark.req("PF-254")
def test_the_page_of_actions_and_roles_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page() + "\n", "run docs/draw_access.py"
