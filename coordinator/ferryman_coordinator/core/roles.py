"""The ready-made roles, and which action each of them may (PF-12.2, PF-12.3, CP-438): one table.

`docs/operating/access.md` is drawn from it, and a test fails when a call has no row in it (PF-254).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ferryman_coordinator.core import resources
from ferryman_coordinator.core.resources import EVERYTHING
from ferryman_coordinator.core.rights import CODEDEPLOY, FERRYMAN, Effect, Statement


class RoleName(StrEnum):
    VIEWER = "viewer"
    DEPLOYER = "deployer"
    OPERATOR = "operator"
    ADMIN = "admin"
    SECURITY_ADMIN = "security-admin"
    AUDITOR = "auditor"
    CI = "ci"
    REGISTRAR = "registrar"
    AGENT = "agent"
    HOOK = "hook"


DESCRIPTIONS = {
    RoleName.VIEWER: "Sees everything but users, secrets and the audit log.",
    RoleName.DEPLOYER: "viewer, and registers revisions and creates deployments.",
    RoleName.OPERATOR: "deployer, and stops and continues deployments, tags and checks instances.",
    RoleName.ADMIN: "Everything in Ferryman; nothing in other systems.",
    RoleName.SECURITY_ADMIN: "Users, roles, tokens, keys and the audit log; no deployments.",
    RoleName.AUDITOR: "Reads the audit log, users and roles.",
    RoleName.CI: "Pushes and deploys; meant to be granted on named applications.",
    RoleName.REGISTRAR: "Registers, deregisters and tags instances, and makes join tokens.",
    RoleName.AGENT: "What an enrolled agent may, by its certificate, for its own instance. Not for users.",
    RoleName.HOOK: "Reports the outcome of validation hooks; meant to be granted on named deployment groups.",
}

GRANTABLE = tuple(role for role in RoleName if role is not RoleName.AGENT)

_LADDER = (RoleName.VIEWER, RoleName.DEPLOYER, RoleName.OPERATOR, RoleName.ADMIN)
_V, _D, _O, _A = (frozenset(_LADDER[step:]) for step in range(len(_LADDER)))
_NOBODY: frozenset[RoleName] = frozenset()
_CI = frozenset({RoleName.CI})
_REGISTRAR = frozenset({RoleName.REGISTRAR})
_HOOK = frozenset({RoleName.HOOK})
_AGENT = frozenset({RoleName.AGENT})
_KEEPS = frozenset({RoleName.SECURITY_ADMIN})
_READS = frozenset({RoleName.SECURITY_ADMIN, RoleName.AUDITOR})

ALL = ""
"""Kind of resource of an action that is about no single one."""


@dataclass(frozen=True, slots=True)
class ActionRow:
    """One or more actions on the same kind of resource, and the roles that may them."""

    prefix: str
    operations: tuple[str, ...]
    kind: str
    roles: frozenset[RoleName]
    # Changes nothing: its audit record has no response.
    is_read: bool = False

    @property
    def actions(self) -> Iterator[str]:
        return (self.prefix + operation for operation in self.operations)


def _read(operations: str, kind: str, roles: frozenset[RoleName], prefix: str = CODEDEPLOY) -> ActionRow:
    return ActionRow(prefix, tuple(operations.split()), kind, roles, is_read=True)


def _change(operations: str, kind: str, roles: frozenset[RoleName], prefix: str = CODEDEPLOY) -> ActionRow:
    return ActionRow(prefix, tuple(operations.split()), kind, roles)


_APP, _GROUP, _CONFIG, _INSTANCE = (
    resources.APPLICATION,
    resources.GROUP,
    resources.CONFIG,
    resources.INSTANCE,
)

_OF_CODEDEPLOY = (
    _read("BatchGetApplicationRevisions GetApplicationRevision ListApplicationRevisions", _APP, _V | _CI),
    _read("BatchGetApplications GetApplication ListApplications", _APP, _V | _CI),
    _read("BatchGetDeploymentGroups GetDeploymentGroup ListDeploymentGroups", _GROUP, _V | _CI),
    _read("BatchGetDeployments GetDeployment ListDeployments", _GROUP, _V | _CI),
    _read(
        "BatchGetDeploymentInstances GetDeploymentInstance ListDeploymentInstances"
        " BatchGetDeploymentTargets GetDeploymentTarget ListDeploymentTargets",
        _GROUP,
        _V | _CI,
    ),
    _read("GetDeploymentConfig ListDeploymentConfigs", _CONFIG, _V | _CI),
    _read(
        "BatchGetOnPremisesInstances GetOnPremisesInstance ListOnPremisesInstances",
        _INSTANCE,
        _V | _REGISTRAR,
    ),
    _read("ListGitHubAccountTokenNames ListTagsForResource", ALL, _V),
    _change("RegisterApplicationRevision", _APP, _D | _CI),
    _change("CreateDeployment", _GROUP, _D | _CI),
    _change("StopDeployment", _GROUP, _O),
    _change("ContinueDeployment", _GROUP, _O),
    _change("SkipWaitTimeForInstanceTermination", _INSTANCE, _O),
    _change("AddTagsToOnPremisesInstances RemoveTagsFromOnPremisesInstances", _INSTANCE, _O | _REGISTRAR),
    _change("RegisterOnPremisesInstance DeregisterOnPremisesInstance", _INSTANCE, _A | _REGISTRAR),
    _change("CreateApplication UpdateApplication DeleteApplication", _APP, _A),
    _change("CreateDeploymentGroup UpdateDeploymentGroup DeleteDeploymentGroup", _GROUP, _A),
    _change("CreateDeploymentConfig DeleteDeploymentConfig", _CONFIG, _A),
    _change("TagResource UntagResource DeleteResourcesByExternalId", ALL, _A),
    _change("DeleteGitHubAccountToken", resources.GITHUB, _A | _KEEPS),
    _change("PutLifecycleEventHookExecutionStatus", _GROUP, _HOOK),
    _change(
        "PollHostCommand PutHostCommandAcknowledgement PutHostCommandComplete GetDeploymentSpecification",
        _INSTANCE,
        _AGENT,
    ),
    _change("CreateNotificationRule UpdateNotificationRule Subscribe Unsubscribe", _APP, _D),
    _change("DeleteNotificationRule", _APP, _A),
    _read("DescribeNotificationRule ListNotificationRules ListTargets ListEventTypes", _APP, _V),
)

_OUR_OWN = (
    _read("PlanDeployment", _GROUP, _V | _CI, FERRYMAN),
    _read("ReadScriptLogs", _GROUP, _V | _CI, FERRYMAN),
    _read("ListAlarms TestAlarm", ALL, _V | _CI, FERRYMAN),
    _read("GetLifecycleAction ListLifecycleActions CheckHooks", ALL, _V | _REGISTRAR, FERRYMAN),
    _change("NotifyTransition PutInService PutTerminated", _INSTANCE, _A | _REGISTRAR, FERRYMAN),
    _change("LetLaunchesPass", _GROUP, _O, FERRYMAN),
    _change("ReplayDeliveries", _GROUP, _O, FERRYMAN),
    _change("TestTarget", ALL, _O, FERRYMAN),
    _read("FindBundle", ALL, _D | _CI, FERRYMAN),
    _change("UploadBundle", ALL, _D | _CI, FERRYMAN),
    _change("PrepareS3Upload", resources.S3, _D | _CI, FERRYMAN),
    _change("UseGitHubToken", resources.GITHUB, _D | _CI, FERRYMAN),
    _change("PutGitHubToken", resources.GITHUB, _A | _KEEPS, FERRYMAN),
    _read("CheckInstance", _INSTANCE, _O, FERRYMAN),
    _read("ListJoinTokens", _INSTANCE, _A | _REGISTRAR | _KEEPS, FERRYMAN),
    _change("CreateJoinToken RevokeJoinToken", _INSTANCE, _A | _REGISTRAR | _KEEPS, FERRYMAN),
    _read("GetUser ListUsers CheckAccess", resources.USER, _A | _READS, FERRYMAN),
    _read("ListAccessTokens ListAccessKeys", resources.USER, _A | _READS, FERRYMAN),
    _read("GetRole ListRoles", resources.ROLE, _A | _READS, FERRYMAN),
    _change("CreateUser UpdateUser DeleteUser", resources.USER, _A | _KEEPS, FERRYMAN),
    _change("GrantRole RevokeRole", resources.USER, _A | _KEEPS, FERRYMAN),
    _change("PutRole DeleteRole", resources.ROLE, _A | _KEEPS, FERRYMAN),
    _change("CreateAccessToken RevokeAccessToken", resources.USER, _A | _KEEPS, FERRYMAN),
    _change("CreateAccessKey UpdateAccessKey DeleteAccessKey", resources.USER, _A | _KEEPS, FERRYMAN),
    _read("ListAuditRecords VerifyAudit", resources.AUDIT, _A | _READS, FERRYMAN),
)

MATRIX = (*_OF_CODEDEPLOY, *_OUR_OWN)

ACTIONS = {action: row for row in MATRIX for action in row.actions}
"""Every action that there is."""


def actions_of(role: RoleName) -> tuple[str, ...]:
    """In the order of the table."""
    return tuple(action for action, row in ACTIONS.items() if role in row.roles)


def statements_of(role: RoleName) -> tuple[Statement, ...]:
    """What a ready-made role says; of an administrator also what comes in later versions."""
    actions = (EVERYTHING,) if role is RoleName.ADMIN else actions_of(role)
    return (Statement(effect=Effect.ALLOW, actions=actions, origin=f"role {role}"),)


def ready_made(name: str) -> RoleName | None:
    """The ready-made role of that name that users can be granted."""
    return next((role for role in GRANTABLE if role == name), None)


def smallest_role(action: str) -> RoleName:
    """What to ask an administrator for."""
    row = ACTIONS.get(action)
    if row is None:
        return RoleName.ADMIN
    order = (*_LADDER[:-1], RoleName.REGISTRAR, RoleName.AUDITOR, RoleName.SECURITY_ADMIN, RoleName.HOOK)
    return next((role for role in order if role in row.roles), RoleName.ADMIN)


def is_read(action: str) -> bool:
    """Whether the action changes nothing."""
    row = ACTIONS.get(action)
    return row is not None and row.is_read
