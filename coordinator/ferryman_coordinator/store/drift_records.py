"""Rows <-> values of what agents found installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ferryman_coordinator.core.drift import DriftedFile, InstalledState
from ferryman_coordinator.core.model import DeploymentId, GroupId, InstanceId, Instant
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.tables import installed_states

_files = msgspec.json.Decoder(tuple[DriftedFile, ...])

STATE_COLUMNS = tuple(
    column.label(f"state_{column.name}") for column in installed_states.c if column.name != "instance_id"
)
"""For joins in which other tables have columns of these names."""


def state_row(instance_id: InstanceId, state: InstalledState) -> dict[str, Any]:
    """A whole row of `installed_states`: for `Batch.put`."""
    return {
        "group_id": state.group_id,
        "instance_id": instance_id,
        "deployment_id": state.deployment_id,
        "files_checked": state.files_checked,
        "files_drifted": state.files_drifted,
        "drifted": to_json(state.drifted),
        "checked_at": state.checked_at,
        "received_at": state.received_at,
        "with_digests": state.with_digests,
        "archive_whole": state.archive_whole,
        "bundle_whole": state.bundle_whole,
        "error": state.error,
    }


def state_from(row: Any) -> InstalledState | None:
    """From a row with STATE_COLUMNS, all of them NULL where there is none."""
    found: Mapping[str, Any] = row._mapping
    if found["state_group_id"] is None:
        return None
    return InstalledState(
        group_id=GroupId(found["state_group_id"]),
        deployment_id=DeploymentId(found["state_deployment_id"]),
        files_checked=found["state_files_checked"],
        files_drifted=found["state_files_drifted"],
        drifted=_files.decode(found["state_drifted"]),
        checked_at=Instant(found["state_checked_at"]),
        received_at=Instant(found["state_received_at"]),
        with_digests=found["state_with_digests"],
        archive_whole=found["state_archive_whole"],
        bundle_whole=found["state_bundle_whole"],
        error=found["state_error"],
    )
