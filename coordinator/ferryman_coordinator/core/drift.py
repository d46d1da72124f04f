"""What agents find when they look at what they installed, and what follows from it for a rollout (AG-554, AG-558).

Facts for people: nothing is refused and nothing is held back because of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ferryman_coordinator.core.health import Installation
from ferryman_coordinator.core.model import DeploymentId, GroupId, Instant, TargetStatus

SHOWN = 100
"""Names of changed files that are kept of each group on each instance; all of them are counted."""

_NAMED = 10


class FileDrift(StrEnum):
    """How an installed file differs from what was installed."""

    MISSING = "missing"
    CONTENT = "content"
    ATTRIBUTES = "attributes"
    KIND = "kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftedFile:
    path: str
    drift: FileDrift


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledState:
    """What an agent found of one group. `checked_at` is by its clock, `received_at` by the coordinator's.

    bundle_whole: the bundle, which a rollback unpacks again, is on the instance's disk and fits its digest; None: its
    agent does not say. archive_whole: so is the unpacked archive. error: why the files could not be looked at; empty
    when they were.
    """

    group_id: GroupId
    deployment_id: DeploymentId
    files_checked: int
    files_drifted: int
    drifted: tuple[DriftedFile, ...]
    checked_at: Instant
    received_at: Instant
    with_digests: bool
    archive_whole: bool
    error: str = ""
    bundle_whole: bool | None = None

    def is_of(self, installation: Installation) -> bool:
        """Says whether it still tells of what is installed: not once another deployment has succeeded there."""
        if installation.last_outcome is not TargetStatus.SUCCEEDED:
            return True
        return self.deployment_id == installation.last_deployment_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackReadiness:
    """Whether an instance could go back to what it runs now without fetching anything. None: that is not known.

    was_asked: its agent answers such questions, so that no answer means something.
    """

    instance_name: str
    can_roll_back: bool | None
    was_asked: bool = False


def readiness(installation: Installation | None, state: InstalledState | None) -> bool | None:
    """Whether the bundle of what is installed is whole, None where nothing is installed well or nothing is known."""
    if installation is None or installation.revision_key is None or state is None:
        return None
    if not state.is_of(installation):
        return None
    return state.archive_whole if state.bundle_whole is None else state.bundle_whole


def readiness_warnings(instances: Sequence[RollbackReadiness]) -> tuple[str, ...]:
    """What whoever starts a deployment to `instances`, all with something installed, should know of its rollback."""
    cannot = [one.instance_name for one in instances if one.can_roll_back is False]
    unknown = [one.instance_name for one in instances if one.can_roll_back is None and one.was_asked]
    warnings = []
    if cannot:
        warnings.append(
            f"{len(cannot)} of {len(instances)} instances could not roll back from disk: {_some(cannot)};"
            " the archive of what they run is gone or damaged there, so a rollback may have to fetch it"
        )
    if unknown:
        warnings.append(
            f"{len(unknown)} of {len(instances)} instances did not say whether they could roll back from disk:"
            f" {_some(unknown)}"
        )
    return tuple(warnings)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
