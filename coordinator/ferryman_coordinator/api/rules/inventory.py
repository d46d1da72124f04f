"""Applications, groups, configurations, revisions, instances, join tokens and the tokens that are kept for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ferryman_coordinator.api.rules.needs import (
    Need,
    OfDeployment,
    OfInstance,
    Rule,
    Shows,
    SomeOf,
    by_name,
    github_token,
    group_of,
    listed,
    need,
    on,
    own_group,
    rule,
    several,
    shown_instance,
    the_application,
    the_instance,
    used_github_token,
)
from ferryman_coordinator.core import resources
from ferryman_coordinator.core.resources import EVERYTHING, Resource
from ferryman_coordinator.core.rights import CODEDEPLOY, FERRYMAN

# Applications, groups, configurations ---------------------------------------------------------------------------------


def _new_application_name(request: Any) -> Need | None:
    """CP-436."""
    return need("UpdateApplication", resources.application(request.new_name))


def _new_group_name(request: Any) -> Need | None:
    """CP-436."""
    if not request.HasField("new_name"):
        return None
    return need("UpdateDeploymentGroup", resources.group(request.application_name, request.new_name))


def _linked(request: Any) -> Need | None:
    name = request.github_account_name
    return need(f"{FERRYMAN}UseGitHubToken", github_token(name)) if name else None


def _listed_groups(request: Any) -> SomeOf | None:
    """Whoever may see no group of an application is not told whether it is there."""
    name = request.application_name
    return SomeOf(resources.group(name, EVERYTHING)) if name else None


INVENTORY = {
    "CreateApplication": by_name("CreateApplication", resources.application),
    "GetApplication": by_name("GetApplication", resources.application),
    "ListApplications": listed(
        "ListApplications", "applications", lambda item, _: resources.application(item.name)
    ),
    "UpdateApplication": rule(
        "UpdateApplication",
        on("UpdateApplication", lambda request: resources.application(request.name)),
        _new_application_name,
    ),
    "DeleteApplication": by_name("DeleteApplication", resources.application),
    "BatchGetApplications": several(
        "BatchGetApplications", lambda request: map(resources.application, request.names)
    ),
    "LinkApplication": rule(
        f"UpdateApplication {FERRYMAN}UseGitHubToken",
        on("UpdateApplication", lambda request: resources.application(request.name)),
        _linked,
        event="LinkApplication",
    ),
    "CreateDeploymentGroup": rule("CreateDeploymentGroup", on("CreateDeploymentGroup", own_group)),
    "GetDeploymentGroup": rule("GetDeploymentGroup", on("GetDeploymentGroup", own_group)),
    "ListDeploymentGroups": rule(
        "ListDeploymentGroups",
        on("ListDeploymentGroups", _listed_groups),
        shows=Shows("deployment_groups", lambda item, _: need("ListDeploymentGroups", own_group(item))),
    ),
    "UpdateDeploymentGroup": rule(
        "UpdateDeploymentGroup", on("UpdateDeploymentGroup", own_group), _new_group_name
    ),
    "DeleteDeploymentGroup": rule("DeleteDeploymentGroup", on("DeleteDeploymentGroup", own_group)),
    "BatchGetDeploymentGroups": several(
        "BatchGetDeploymentGroups",
        lambda request: [resources.group(request.application_name, name) for name in request.names],
    ),
    "ListMatchingInstances": rule(
        "ListOnPremisesInstances GetDeploymentGroup",
        on("ListOnPremisesInstances", lambda _request: resources.every(resources.INSTANCE)),
        lambda request: (
            need("GetDeploymentGroup", group_of(request)) if request.deployment_group_name else None
        ),
        event="ListMatchingInstances",
    ),
    "CreateDeploymentConfig": by_name("CreateDeploymentConfig", resources.config),
    "GetDeploymentConfig": by_name("GetDeploymentConfig", resources.config),
    "ListDeploymentConfigs": listed(
        "ListDeploymentConfigs", "deployment_configs", lambda item, _: resources.config(item.name)
    ),
    "DeleteDeploymentConfig": by_name("DeleteDeploymentConfig", resources.config),
    "RegisterRevision": rule(
        f"RegisterApplicationRevision {FERRYMAN}UseGitHubToken",
        on("RegisterApplicationRevision", the_application),
        lambda request: used_github_token(request.location),
    ),
    "GetRevision": rule("GetApplicationRevision", on("GetApplicationRevision", the_application)),
    "ListRevisions": rule("ListApplicationRevisions", on("ListApplicationRevisions", the_application)),
    "BatchGetRevisions": rule(
        "BatchGetApplicationRevisions", on("BatchGetApplicationRevisions", the_application)
    ),
    "GetInstance": rule("GetOnPremisesInstance", on("GetOnPremisesInstance", the_instance)),
    "ListInstances": listed("ListOnPremisesInstances", "instances", shown_instance),
    "TagInstance": rule(
        "AddTagsToOnPremisesInstances RemoveTagsFromOnPremisesInstances",
        lambda request: (
            need("AddTagsToOnPremisesInstances", the_instance(request))
            if request.add or not request.remove
            else None
        ),
        lambda request: (
            need("RemoveTagsFromOnPremisesInstances", the_instance(request)) if request.remove else None
        ),
        event="TagInstance",
    ),
    "DeregisterInstance": rule(
        "DeregisterOnPremisesInstance", on("DeregisterOnPremisesInstance", the_instance)
    ),
    "CheckInstance": rule(f"{FERRYMAN}CheckInstance", on(f"{FERRYMAN}CheckInstance", the_instance)),
}

# Instances ------------------------------------------------------------------------------------------------------------


def _tagged(request: Any) -> Iterator[Need]:
    for name in request.instances:
        if request.add or not request.remove:
            yield need("AddTagsToOnPremisesInstances", OfInstance(name))
        if request.remove:
            yield need("RemoveTagsFromOnPremisesInstances", OfInstance(name))


INSTANCES = {
    "RegisterInstance": by_name("RegisterOnPremisesInstance", resources.instance, "instance_name"),
    "BatchGetInstances": several(
        "BatchGetOnPremisesInstances", lambda request: map(OfInstance, request.instances)
    ),
    "TagInstances": Rule(
        event="TagInstances",
        actions=(
            f"{CODEDEPLOY}AddTagsToOnPremisesInstances",
            f"{CODEDEPLOY}RemoveTagsFromOnPremisesInstances",
        ),
        needs=_tagged,
    ),
    "ListInstanceDeployments": rule(
        "GetOnPremisesInstance GetDeployment",
        on("GetOnPremisesInstance", the_instance),
        shows=Shows("deployments", lambda item, _: need("GetDeployment", group_of(item))),
        event="ListInstanceDeployments",
    ),
}

# Join tokens and tokens for others ------------------------------------------------------------------------------------


def _all_instances(_request: Any) -> Resource:
    return resources.every(resources.INSTANCE)


TOKENS = {
    "CreateJoinToken": rule(
        f"{FERRYMAN}CreateJoinToken",
        on(
            f"{FERRYMAN}CreateJoinToken",
            lambda request: (
                resources.instance(request.instance_name)
                if request.instance_name
                else resources.every(resources.INSTANCE)
            ),
        ),
    ),
    "ListJoinTokens": rule(f"{FERRYMAN}ListJoinTokens", on(f"{FERRYMAN}ListJoinTokens", _all_instances)),
    "RevokeJoinToken": rule(f"{FERRYMAN}RevokeJoinToken", on(f"{FERRYMAN}RevokeJoinToken", _all_instances)),
    "PutGitHubToken": by_name(f"{FERRYMAN}PutGitHubToken", github_token),
    "ListGitHubTokens": rule(
        "ListGitHubAccountTokenNames", on("ListGitHubAccountTokenNames", lambda _request: None)
    ),
    "RemoveGitHubToken": by_name("DeleteGitHubAccountToken", github_token),
}

# Resources of any kind ------------------------------------------------------------------------------------------------


def _by_arn(request: Any) -> Resource:
    """What the part behind the account names; of a malformed ARN the whole, which is then refused for what it is."""
    return Resource((request.resource_arn.split(":", 5)[-1] or EVERYTHING,))


_SEEN_WITH: dict[str, Callable[[Any], Need]] = {
    "application": lambda item: need("GetApplication", resources.application(item.name)),
    "deployment-group": lambda item: need(
        "GetDeploymentGroup", resources.group(item.application_name, item.name)
    ),
    "deployment-config": lambda item: need("GetDeploymentConfig", resources.config(item.name)),
    "instance": lambda item: need("GetOnPremisesInstance", resources.instance(item.name)),
    "revision": lambda item: need("GetApplicationRevision", resources.application(item.application_name)),
    "deployment": lambda item: need("GetDeployment", OfDeployment(item.name)),
}


def _found(item: Any, _request: Any) -> Need | None:
    seen_with = _SEEN_WITH.get(item.kind)
    return None if seen_with is None else seen_with(item)


RESOURCES = {
    "TagResource": rule("TagResource", on("TagResource", _by_arn)),
    "UntagResource": rule("UntagResource", on("UntagResource", _by_arn)),
    "ListTagsForResource": rule("ListTagsForResource", on("ListTagsForResource", _by_arn)),
    "Search": Rule(
        event="Search",
        actions=(
            f"{CODEDEPLOY}GetApplication",
            f"{CODEDEPLOY}GetDeploymentGroup",
            f"{CODEDEPLOY}GetDeploymentConfig",
            f"{CODEDEPLOY}GetOnPremisesInstance",
            f"{CODEDEPLOY}GetApplicationRevision",
            f"{CODEDEPLOY}GetDeployment",
        ),
        needs=lambda _request: (),
        shows=Shows("results", _found),
        is_read=True,
    ),
}
