"""Which rights each call needs, by its request: one row a call. A test fails when a call has none (PF-254).

A call without a row is for whoever may everything, so that a new one is closed until somebody has thought about it.
"""

from __future__ import annotations

from ferryman_coordinator.api.rules.alarms import ALARMS
from ferryman_coordinator.api.rules.deployments import BUNDLES, DEPLOYMENTS
from ferryman_coordinator.api.rules.events import EVENTS
from ferryman_coordinator.api.rules.identity import AGENTS, AUDIT, IDENTITY, SELF_SERVICE
from ferryman_coordinator.api.rules.inventory import INSTANCES, INVENTORY, RESOURCES, TOKENS
from ferryman_coordinator.api.rules.needs import (
    ConfigOf,
    Need,
    OfDeployment,
    OfInstance,
    OwnerOf,
    Rule,
    Shows,
    SomeOf,
    Target,
)
from ferryman_coordinator.api.rules.scaling import SCALING
from ferryman_coordinator.core.resources import EVERYTHING, Resource
from ferryman_coordinator.core.rights import FERRYMAN

__all__ = [
    "RULES",
    "SELF_SERVICE",
    "ConfigOf",
    "Need",
    "OfDeployment",
    "OfInstance",
    "OwnerOf",
    "Rule",
    "Shows",
    "SomeOf",
    "Target",
    "rule_of",
]

_SERVICES = {
    "AlarmService": ALARMS,
    "EventService": EVENTS,
    "AgentService": AGENTS,
    "AuditService": AUDIT,
    "AutoScalingService": SCALING,
    "BundleService": BUNDLES,
    "DeploymentService": DEPLOYMENTS,
    "IdentityService": IDENTITY,
    "InstanceService": INSTANCES,
    "InventoryService": INVENTORY,
    "ResourceService": RESOURCES,
    "TokenService": TOKENS,
}

RULES = {
    f"/ferryman.v1.{service}/{method}": one
    for service, methods in _SERVICES.items()
    for method, one in methods.items()
}


def rule_of(method: str) -> Rule | None:
    """None for what is none of our services: health and reflection."""
    known = RULES.get(method)
    if known is not None or not method.startswith("/ferryman."):
        return known
    name = method.rpartition("/")[2]
    everything = Resource((EVERYTHING,))
    return Rule(
        event=name,
        actions=(FERRYMAN + name,),
        needs=lambda _request: [Need((FERRYMAN + name,), everything)],
    )
