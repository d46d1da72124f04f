"""What goes into a segment's run and comes out of it: events, facts, instructions."""

from __future__ import annotations

from dataclasses import dataclass, field

from ferryman_agent.core.lifecycle import Work
from ferryman_agent.core.messages import Diagnostics, EventStatus

# Events, in: what happened


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkEnded:
    """The work of the running event is over.

    `is_stopped`: it was ended on request. Where a cancellation asked for that, it is no failure (AG-128).
    """

    lifecycle_event: str
    diagnostics: Diagnostics
    is_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """The running event ends by itself, or with `kill` is ended; the rest is skipped (D4, AG-126…128)."""

    reason: str = ""
    kill: bool = False


# Facts, out: journaled first; those in REPORTED are also told to the coordinator


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStarted:
    """A command that waited got its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStarted:
    """It is under way."""

    lifecycle_event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventResumed:
    """After a restart, the event's work is done once more."""

    lifecycle_event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptStarted:
    """A script of the event runs."""

    lifecycle_event: str
    script_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress:
    """Told now and then; `total_bytes` is 0 where it is not known."""

    received_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFinished:
    """How it ended."""

    lifecycle_event: str
    status: EventStatus
    diagnostics: Diagnostics = field(default_factory=Diagnostics)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFinished:
    """Succeeded, Failed, or Skipped where the segment was cancelled before its last event."""

    status: EventStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelNoted:
    """Somebody wants it to end; with `kill`, its scripts too."""

    reason: str
    kill: bool


Fact = (
    CommandStarted
    | EventStarted
    | EventResumed
    | ScriptStarted
    | DownloadProgress
    | EventFinished
    | SegmentFinished
    | CancelNoted
)
REPORTED = (CommandStarted, EventStarted, ScriptStarted, DownloadProgress, EventFinished, SegmentFinished)


# Instructions, out: carried out once the facts are on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Perform:
    """Do the event's work; it ends in exactly one WorkEnded."""

    lifecycle_event: str
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class EndScripts:
    """End what the running event has started: TERM, grace, KILL."""

    lifecycle_event: str


Instruction = Perform | EndScripts


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What to write down, and then to do."""

    facts: tuple[Fact, ...] = ()
    instructions: tuple[Instruction, ...] = ()


NOTHING = Outcome()
