"""Rows <-> values of what is done for an autoscaler's instances."""

from __future__ import annotations

import msgspec

from ferryman_coordinator.core.scaling import LifecycleAction
from ferryman_coordinator.store.records import Values, to_json


def action_row(action: LifecycleAction) -> Values:
    """A whole row of `lifecycle_actions`: for `Batch.put`."""
    return {
        "auto_scaling_group": action.auto_scaling_group,
        "token": action.token,
        "instance_id": action.instance_id,
        "created_at": action.created_at,
        "answered_at": action.answered_at,
        "action": to_json(action),
    }


def action_from(text: str) -> LifecycleAction:
    return _action.decode(text)


_action = msgspec.json.Decoder(LifecycleAction)
