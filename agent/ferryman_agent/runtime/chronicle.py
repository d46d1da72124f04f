"""Keeps how events ended: in their deployment's record, and as numbers for a monitoring system (AG-544, AG-546)."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from pathlib import Path

import structlog

from ferryman_agent.clock import Clock
from ferryman_agent.core.messages import CommandId, Diagnostics, Segment
from ferryman_agent.errors import EventError
from ferryman_agent.files import deployment_record
from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.deployment_record import EventRecord
from ferryman_agent.files.layout import Layout

METRICS_MODE = 0o644

log = structlog.stdlib.get_logger(__name__)


class Chronicle:
    """`metrics` is a file for node-exporter's textfile collector; None: no numbers are kept."""

    def __init__(self, layout: Layout, clock: Clock, metrics: Path | None = None) -> None:
        self._layout = layout
        self._clock = clock
        self._metrics = metrics
        self._ended: defaultdict[CommandId, list[EventRecord]] = defaultdict(list)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds: Counter[str] = Counter()

    def ended(self, segment: Segment, name: str, diagnostics: Diagnostics) -> None:
        """An event of a command ended."""
        is_ignored = name in segment.ignorable_failures
        record = deployment_record.event(name, self._clock.now(), diagnostics, is_ignored=is_ignored)
        self._ended[segment.command_id].append(record)
        code = record.detail_code if record.code and record.detail_code else str(record.code)
        self._counts[name, code] += 1
        self._seconds[name] += diagnostics.duration_ms

    async def write(self, segment: Segment) -> None:
        """A command ended, or is interrupted: what was kept goes to the disk. A full disk costs the record only."""
        events = tuple(self._ended.pop(segment.command_id, ()))
        if not events:
            return
        try:
            await asyncio.to_thread(self._on_disk, segment, events)
        except (OSError, EventError) as error:
            log.warning("chronicle.not_written", command_id=segment.command_id, error=str(error))

    def _on_disk(self, segment: Segment, events: tuple[EventRecord, ...]) -> None:
        deployment = segment.deployment
        folder = self._layout.deployment(deployment.deployment_group_id, deployment.deployment_id).path
        if folder.is_dir():
            known = deployment_record.read(folder) or deployment_record.of(deployment)
            deployment_record.write(folder, known.with_events(events))
        if self._metrics is not None:
            write_atomic(self._metrics, self.metrics_text().encode(), METRICS_MODE)

    def metrics_text(self) -> str:
        """The numbers since the agent started, in Prometheus' text format."""
        lines = [
            "# HELP ferryman_agent_lifecycle_events_total Lifecycle events that ended, by their code (0: well).",
            "# TYPE ferryman_agent_lifecycle_events_total counter",
        ]
        for (name, code), count in sorted(self._counts.items()):
            labels = f'event="{_quoted(name)}",code="{_quoted(code)}"'
            lines.append(f"ferryman_agent_lifecycle_events_total{{{labels}}} {count}")
        lines += [
            "# HELP ferryman_agent_lifecycle_event_seconds How long lifecycle events took.",
            "# TYPE ferryman_agent_lifecycle_event_seconds summary",
        ]
        for name, milliseconds in sorted(self._seconds.items()):
            count = sum(number for (event, _), number in self._counts.items() if event == name)
            labels = f'event="{_quoted(name)}"'
            lines.append(f"ferryman_agent_lifecycle_event_seconds_sum{{{labels}}} {milliseconds / 1000:.3f}")
            lines.append(f"ferryman_agent_lifecycle_event_seconds_count{{{labels}}} {count}")
        return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
