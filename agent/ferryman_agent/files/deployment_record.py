"""What a deployment's directory says about itself: which revision of what, and how its events ended (AG-544)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ferryman_agent.core.messages import DeploymentDescription, Diagnostics, Instant, RevisionSource
from ferryman_agent.files.layout import STATE_FILE_MODE
from ferryman_agent.system import fs

RECORD_NAME = ".deployment.json"
_SIZE_LIMIT = 1 << 20


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How one lifecycle event ended. `code` is the original's number, 0 for success."""

    name: str
    ended_at: Instant
    duration_ms: int
    code: int
    detail_code: str = ""
    is_ignored: bool = False


class DeploymentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Written when a command ends. Of an event that ran again the last time counts."""

    deployment_id: str
    group_name: str
    application_name: str
    revision: str
    events: tuple[EventRecord, ...] = ()

    @property
    def result(self) -> str:
        """`Succeeded`, or `Failed` with the event and its code."""
        for event in self.events:
            if event.code and not event.is_ignored:
                return f"Failed at {event.name} ({event.detail_code or event.code})"
        return "Succeeded"

    @property
    def ended_at(self) -> Instant | None:
        return max((event.ended_at for event in self.events), default=None)

    def with_events(self, events: tuple[EventRecord, ...]) -> DeploymentRecord:
        """Returns the record with events that ended after those that it has."""
        merged = {event.name: event for event in self.events}
        for event in events:
            merged.pop(event.name, None)
            merged[event.name] = event
        return msgspec.structs.replace(self, events=tuple(merged.values()))


def of(deployment: DeploymentDescription) -> DeploymentRecord:
    """Returns a record without events."""
    return DeploymentRecord(
        deployment_id=deployment.deployment_id,
        group_name=deployment.deployment_group_name,
        application_name=deployment.application_name,
        revision=shown(deployment.revision),
    )


def event(name: str, ended_at: Instant, diagnostics: Diagnostics, *, is_ignored: bool) -> EventRecord:
    """Returns the record of an event that ended."""
    return EventRecord(
        name=name,
        ended_at=ended_at,
        duration_ms=diagnostics.duration_ms,
        code=int(diagnostics.error_code),
        detail_code=diagnostics.detail_code,
        is_ignored=is_ignored,
    )


def shown(revision: RevisionSource) -> str:
    """Returns where a revision came from, without user, password and query, which may be credentials."""
    parts = urlsplit(revision.url)
    place = (
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else revision.url
    )
    return f"sha256:{revision.sha256}" if revision.sha256 and "/bundles/" in parts.path else place


def write(folder: Path, record: DeploymentRecord) -> None:
    """Replaces the record of a deployment. It is for people, so it is not flushed. Raises OSError."""
    temporary = folder / f"{RECORD_NAME}.new"
    flags = fs.O_WRONLY | fs.O_CREAT | fs.O_TRUNC | fs.O_CLOEXEC | fs.O_NOFOLLOW
    descriptor = fs.open(temporary, flags, STATE_FILE_MODE)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record))
    temporary.replace(folder / RECORD_NAME)


def read(folder: Path) -> DeploymentRecord | None:
    """Returns the record of a deployment; None where there is none, or none that can be read."""
    try:
        with (folder / RECORD_NAME).open("rb") as file:
            return msgspec.json.decode(file.read(_SIZE_LIMIT), type=DeploymentRecord)
    except (OSError, msgspec.MsgspecError, RecursionError, ValueError):
        return None
