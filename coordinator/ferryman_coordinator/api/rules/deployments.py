"""Deployments and bundles."""

from __future__ import annotations

from typing import Any

from ferryman_coordinator.api.rules.needs import (
    ConfigOf,
    Need,
    OfDeployment,
    Shows,
    group_of,
    need,
    of_deployment,
    on,
    rule,
    several,
    used_github_token,
)
from ferryman_coordinator.core import resources
from ferryman_coordinator.core.resources import Resource
from ferryman_coordinator.core.rights import FERRYMAN

# Deployments ----------------------------------------------------------------------------------------------------------


def _used_config(request: Any) -> Need | None:
    """CP-435."""
    options = request.options
    if options.deployment_config_name:
        return need("GetDeploymentConfig", resources.config(options.deployment_config_name))
    return need("GetDeploymentConfig", ConfigOf(options.application_name, options.deployment_group_name))


def _used_revision(request: Any) -> Need | None:
    """CP-435."""
    on = resources.application(request.options.application_name)
    return need("GetApplicationRevision|RegisterApplicationRevision", on)


def _overridden_alarms(request: Any) -> Need | None:
    """CP-214."""
    if not request.options.HasField("override_alarms"):
        return None
    return need("UpdateDeploymentGroup", group_of(request.options))


def _listed_deployments(request: Any) -> Need | None:
    """The right to list those of a group counts only in a call that names the group (CP-437). One that does not is for
    whoever may see some deployment, and shows those (PF-239)."""
    if request.application_name or request.deployment_group_name:
        return need("ListDeployments", group_of(request))
    return need("GetDeployment", None)


def _shown_deployment(item: Any, request: Any) -> Need | None:
    action = "ListDeployments" if request.application_name else "GetDeployment"
    return need(action, group_of(item))


DEPLOYMENTS = {
    "CreateDeployment": rule(
        "CreateDeployment GetDeploymentConfig GetApplicationRevision RegisterApplicationRevision"
        f" UpdateDeploymentGroup {FERRYMAN}UseGitHubToken",
        on("CreateDeployment", lambda request: group_of(request.options)),
        _used_config,
        _used_revision,
        _overridden_alarms,
        lambda request: used_github_token(request.options.revision),
    ),
    "PlanDeployment": rule(
        f"{FERRYMAN}PlanDeployment GetDeploymentConfig",
        on(f"{FERRYMAN}PlanDeployment", lambda request: group_of(request.options)),
        _used_config,
    ),
    "GetDeployment": of_deployment("GetDeployment"),
    "BatchGetDeployments": several(
        "BatchGetDeployments", lambda request: map(OfDeployment, request.deployment_ids)
    ),
    "ListDeployments": rule(
        "ListDeployments GetDeployment",
        _listed_deployments,
        shows=Shows("deployments", _shown_deployment),
    ),
    "StopDeployment": of_deployment("StopDeployment"),
    "ContinueDeployment": of_deployment("ContinueDeployment"),
    "SkipWaitTimeForInstanceTermination": of_deployment("SkipWaitTimeForInstanceTermination"),
    "GetDeploymentTarget": of_deployment("GetDeploymentTarget"),
    "ListDeploymentTargets": of_deployment("ListDeploymentTargets"),
    "BatchGetDeploymentTargets": of_deployment("BatchGetDeploymentTargets"),
    "WatchDeployment": of_deployment("GetDeployment", event="WatchDeployment"),
    "FollowLogs": of_deployment(f"{FERRYMAN}ReadScriptLogs", event="FollowLogs"),
    "ReadScriptLog": of_deployment(f"{FERRYMAN}ReadScriptLogs", event="ReadScriptLog"),
}

BUNDLES = {
    "FindBundle": rule(f"{FERRYMAN}FindBundle", on(f"{FERRYMAN}FindBundle", lambda _request: None)),
    "UploadBundle": rule(f"{FERRYMAN}UploadBundle", on(f"{FERRYMAN}UploadBundle", lambda _request: None)),
    "PrepareS3Upload": rule(
        f"{FERRYMAN}PrepareS3Upload",
        on(
            f"{FERRYMAN}PrepareS3Upload",
            lambda request: Resource((f"{resources.S3}{request.bucket}/{request.key}",)),
        ),
    ),
}
