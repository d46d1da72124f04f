"""Draws docs/operating/access-matrix.md from the tables of roles and of the rights that calls need.

.venv/bin/python docs/draw_access.py            writes the page
.venv/bin/python docs/draw_access.py --check    exits with 1 when it is not up to date
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ferryman_coordinator.api.rules import RULES
from ferryman_coordinator.core.roles import (
    DESCRIPTIONS,
    GRANTABLE,
    MATRIX,
    ActionRow,
    RoleName,
)

PAGE = Path(__file__).parent / "operating" / "access-matrix.md"

_INTRODUCTION = """\
# Actions and roles

Drawn from `coordinator/ferryman_coordinator/core/roles.py` and `api/rules/` by `docs/draw_access.py`; tests see to it
that page, tables and running coordinator agree. How to use them: [access.md](access.md).

v: viewer, d: deployer, o: operator, a: admin; others are named. `admin` may everything, also what later versions
bring.
"""

_LETTERS = (
    (RoleName.VIEWER, "v"),
    (RoleName.DEPLOYER, "d"),
    (RoleName.OPERATOR, "o"),
    (RoleName.ADMIN, "a"),
)


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_roles(), *_actions(), *_calls()])


def _roles() -> Iterator[str]:
    yield "## Roles\n"
    yield "| role | may |"
    yield "|---|---|"
    for role in RoleName:
        granted = "" if role in GRANTABLE else " (cannot be granted)"
        yield f"| `{role}`{granted} | {DESCRIPTIONS[role]} |"
    yield ""


def _actions() -> Iterator[str]:
    yield "## Actions\n"
    yield "| action | resource | v | d | o | a | others |"
    yield "|---|---|---|---|---|---|---|"
    for row in MATRIX:
        actions = ", ".join(f"`{action}`" for action in row.actions)
        marks = " | ".join("x" if _may(role, row) else "-" for role, _ in _LETTERS)
        named = [role for role in RoleName if role in row.roles and role not in dict(_LETTERS)]
        yield f"| {actions} | {_resource(row.kind)} | {marks} | {', '.join(named) or '-'} |"
    yield ""


def _may(role: RoleName, row: ActionRow) -> bool:
    return role in row.roles or role is RoleName.ADMIN


def _resource(kind: str) -> str:
    if not kind:
        return "any"
    name = "APP/GROUP" if kind == "deploymentgroup:" else "NAME"
    return f"`{kind}{name}`"


def _calls() -> Iterator[str]:
    yield "## Calls of the gRPC interface\n"
    yield "A call may need several of its actions, each on what its request names. No action: everybody may.\n"
    yield "| call | may need | recorded as |"
    yield "|---|---|---|"
    for path, rule in sorted(RULES.items()):
        service, _, method = path.removeprefix("/ferryman.v1.").partition("/")
        if service == "AgentService":
            continue
        actions = ", ".join(f"`{action}`" for action in rule.actions) or "-"
        kind = "read" if rule.is_read else "change"
        yield f"| {service}.{method} | {actions} | {rule.event} ({kind}) |"


if __name__ == "__main__":
    drawn = page() + "\n"
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != drawn)
    PAGE.write_text(drawn, encoding="utf-8")
