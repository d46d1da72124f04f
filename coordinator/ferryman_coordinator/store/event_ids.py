"""Ids of events and deliveries: derived from what they are about, so that the same one always has the same id.

UUIDs, as consumers of EventBridge expect them.
"""

from __future__ import annotations

import uuid

from ferryman_coordinator.core.events import EventState

_NAMESPACE = uuid.UUID("5b0a2c0e-6a53-4d1b-9c63-2f6f0c0e7f11")
"""Fixed for ever."""


def event_id(deployment_id: str, instance_id: str, state: EventState, attempt: int = 1) -> str:
    """Of a deployment's coming into `state`, or an instance's in it."""
    return str(uuid.uuid5(_NAMESPACE, f"{deployment_id}/{instance_id}/{attempt}/{state.value}"))


def delivery_id(event: str, listener: str, target: str) -> str:
    """Of one event's way to one target on behalf of one trigger or rule."""
    return str(uuid.uuid5(_NAMESPACE, f"{event}/{listener}/{target}"))
