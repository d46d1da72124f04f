"""Instances that autoscalers launch and end, and the hooks by which deployment groups hear of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ferryman_coordinator.api.rules.needs import (
    OfInstance,
    Rule,
    Shows,
    group_of,
    need,
    on,
    rule,
    the_instance,
)
from ferryman_coordinator.core.resources import Resource
from ferryman_coordinator.core.rights import FERRYMAN

_GET = f"{FERRYMAN}GetLifecycleAction"


def _said(name: str) -> Rule:
    return rule(f"{FERRYMAN}{name}", on(f"{FERRYMAN}{name}", the_instance))


def _asked(name: str, shows: Shows | None = None) -> Rule:
    return rule(f"{FERRYMAN}{name}", on(f"{FERRYMAN}{name}", lambda _request: None), shows=shows)


def _changed(action: str, event: str, group: Callable[[Any], Resource] = group_of) -> Rule:
    return rule(action, on(action, group), event=event)


SCALING = {
    "NotifyTransition": _said("NotifyTransition"),
    "PutInService": _said("PutInService"),
    "PutTerminated": _said("PutTerminated"),
    "GetLifecycleAction": _asked("GetLifecycleAction"),
    "WatchLifecycleAction": rule(_GET, on(_GET, lambda _request: None), event="WatchLifecycleAction"),
    "ListLifecycleActions": _asked(
        "ListLifecycleActions",
        Shows(
            "actions", lambda item, _: need(f"{FERRYMAN}ListLifecycleActions", OfInstance(item.instance_id))
        ),
    ),
    "CheckHooks": rule(
        f"{FERRYMAN}CheckHooks GetDeploymentGroup",
        on(f"{FERRYMAN}CheckHooks", lambda _request: None),
        shows=Shows("hooks", lambda item, _: need("GetDeploymentGroup", group_of(item))),
    ),
    "ReinstallHooks": _changed("UpdateDeploymentGroup", "ReinstallHooks"),
    "LetLaunchesPass": _changed(f"{FERRYMAN}LetLaunchesPass", "LetLaunchesPass"),
}
