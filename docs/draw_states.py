"""Draws docs/states.md from the tables in `ferryman_coordinator.core.transitions`.

.venv/bin/python docs/draw_states.py            writes docs/states.md
.venv/bin/python docs/draw_states.py --check    exits with 1 when it is not up to date
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ferryman_coordinator.core import transitions
from ferryman_coordinator.core.transitions import Machine

PAGE = Path(__file__).with_name("states.md")

_INTRODUCTION = """\
# States

Drawn from `coordinator/ferryman_coordinator/core/transitions.py` by `docs/draw_states.py`; a test sees to it that both
agree. What is not an arrow here cannot happen: the coordinator refuses it. The rules behind the arrows are sections 11
to 16 of `spec/control-plane.md`.
"""

_TEXTS = {
    "deployment": """\
From the moment that no new target may start, a deployment stays InProgress until its last target has ended its
running event (after a stop, the run cap or a deletion) or its whole sequence (after too many failures): the drain.
Only Succeeded, Failed and Stopped are final.""",
    "target": """\
One target is one instance in one deployment. Skipped targets were never touched; a target that was in progress when
the deployment was stopped ends its running event and is Failed.""",
    "lifecycle event": """\
An event whose start was not reported is started and ended at once when its end, or a later event, is reported.""",
}


def page() -> str:
    """The whole of docs/states.md."""
    machines = (transitions.DEPLOYMENT, transitions.TARGET, transitions.EVENT)
    return "\n".join([_INTRODUCTION, *(line for machine in machines for line in _section(machine))])


def _section(machine: Machine[Any]) -> Iterator[str]:
    yield f"## {machine.title.capitalize()}\n"
    yield "```mermaid"
    yield "stateDiagram-v2"
    for move in machine.moves:
        yield f"    {move.before or '[*]'} --> {move.after}: {move.when}"
    left = {move.before for move in machine.moves}
    for status in dict.fromkeys(move.after for move in machine.moves):
        if status not in left:
            yield f"    {status} --> [*]"
    yield "```\n"
    yield f"{_TEXTS[machine.title]}\n"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(
            0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE.name} is out of date: run {__file__}"
        )
    PAGE.write_text(page(), encoding="utf-8")
