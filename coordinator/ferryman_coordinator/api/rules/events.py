"""Events, the messages that tell of them, and notification rules."""

from __future__ import annotations

from typing import Any

from ferryman_coordinator.api.rules.needs import (
    OfDeployment,
    Shows,
    Target,
    group_of,
    need,
    on,
    rule,
)
from ferryman_coordinator.core import resources
from ferryman_coordinator.core.resources import EVERYTHING, Resource
from ferryman_coordinator.core.rights import FERRYMAN


def _of_rule(request: Any) -> Resource:
    """One for every application concerns all of them; so does one that is asked for by its name alone."""
    name = getattr(request, "application_name", "")
    return resources.application(name) if name else resources.every(resources.APPLICATION)


def _told_of(request: Any) -> Target:
    """What the events or messages that are asked for are about."""
    if getattr(request, "deployment_id", ""):
        return OfDeployment(request.deployment_id)
    if not request.application_name:
        return resources.every(resources.GROUP)
    return resources.group(request.application_name, request.deployment_group_name or EVERYTHING)


def _replayed(request: Any) -> Target:
    """Ids can be of any group, whatever else the request says."""
    return _told_of(request) if request.all_dead else resources.every(resources.GROUP)


EVENTS = {
    "WatchEvents": rule("GetDeployment", on("GetDeployment", _told_of), event="WatchEvents"),
    "ListDeliveries": rule(
        "GetDeployment",
        on("GetDeployment", lambda _request: None),
        shows=Shows("deliveries", lambda item, _: need("GetDeployment", group_of(item))),
        event="ListDeliveries",
    ),
    "ReplayDeliveries": rule(f"{FERRYMAN}ReplayDeliveries", on(f"{FERRYMAN}ReplayDeliveries", _replayed)),
    "TestTarget": rule(f"{FERRYMAN}TestTarget", on(f"{FERRYMAN}TestTarget", lambda _request: None)),
    "CreateNotificationRule": rule("CreateNotificationRule", on("CreateNotificationRule", _of_rule)),
    "GetNotificationRule": rule("DescribeNotificationRule", on("DescribeNotificationRule", _of_rule)),
    "ListNotificationRules": rule(
        "ListNotificationRules",
        on("ListNotificationRules", lambda request: _of_rule(request) if request.application_name else None),
        shows=Shows("rules", lambda item, _: need("ListNotificationRules", _of_rule(item))),
    ),
    "UpdateNotificationRule": rule("UpdateNotificationRule", on("UpdateNotificationRule", _of_rule)),
    "DeleteNotificationRule": rule("DeleteNotificationRule", on("DeleteNotificationRule", _of_rule)),
}
