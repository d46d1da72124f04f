"""`install.json`: what the latest attempt of a group was to do (AG section 6.2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from ferryman_agent.core.messages import Instant
from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.layout import STATE_FILE_MODE


def write_instructions(
    path: Path,
    instructions: Iterable[Mapping[str, object]],
    *,
    archive: Path,
    deployment_id: str,
    now: Instant,
) -> None:
    """Writes the whole plan before its first step (AG-157). Raises OSError.

    The undo log, which is begun beside it before that step, forces the folder to the disk.
    """
    rows = [
        {**row, "source": f"{archive}/{row['source']}"} if row["type"] == "copy" else row
        for row in instructions
    ]
    content = {"instructions": rows, "deployment_id": deployment_id, "planned_at": now}
    try:
        data = msgspec.json.encode(content)
    except UnicodeEncodeError:
        # Paths with other bytes than UTF-8, which this writes as lone surrogates.
        data = json.dumps(content).encode("ascii")
    write_atomic(path, data, STATE_FILE_MODE, sync_folder=False)


def read_destinations(path: Path) -> tuple[str, ...]:
    """Returns what the latest attempt was to make; nothing where that cannot be known (V2-288)."""
    try:
        content = json.loads(path.read_bytes())
        rows = content["instructions"]
        found = [
            row.get("destination") or row.get("directory") for row in rows if row["type"] in ("copy", "mkdir")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    return tuple(
        path for path in found if isinstance(path, str) and path.startswith("/") and "\0" not in path
    )
