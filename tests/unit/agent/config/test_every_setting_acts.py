"""Every setting of the schema is read somewhere outside of the configuration: none is there for show."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ferryman_agent
from ferryman_agent.config.walk import leaves

PACKAGE = Path(ferryman_agent.__file__).parent
SPECIAL = {
    # Chooses defaults while the configuration is read.
    ("profile",),
}


def attributes() -> Iterator[tuple[str, str]]:
    """Yields (`of`, `name`) for each `of.name` and `x.of.name` in the agent's modules."""
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "config" and path.name != "schema.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                inner = node.value
                of = inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", "")
                yield of.removeprefix("_"), node.attr


def test_every_setting_is_read() -> None:
    found = set(attributes())
    unread = []
    for key, _ in leaves():
        owners = {key[-2]} if len(key) > 1 else {"config", "self"}
        if key not in SPECIAL and not any((owner, key[-1]) in found for owner in owners):
            unread.append(".".join(key))
    # `getattr` reads the directories by their names.
    assert set(unread) <= {"log_dir", "pid_dir", "state_dir"}, unread
