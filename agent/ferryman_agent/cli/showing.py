"""What `ferryman-agent config --show` prints: every setting, its value, and where that came from (AG-068)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ferryman_agent.config import Loaded
from ferryman_agent.config.reference import show
from ferryman_agent.config.walk import leaves, value_of

DEFAULT = "default"


def as_json(loaded: Loaded) -> str:
    """Stable names: `file`, `settings` (by dotted name: `value`, `from`), `warnings`. Secrets are masked."""
    settings = {name: {"value": _plain(value), "from": origin} for name, value, origin in _rows(loaded)}
    content = {
        "file": str(loaded.path) if loaded.path else None,
        "settings": settings,
        "warnings": [*loaded.warnings],
    }
    return json.dumps(content, indent=2)


def as_text(loaded: Loaded) -> str:
    """The same for people: one line for each setting, as it would stand in the file."""
    rows = [(name, show(value), origin) for name, value, origin in _rows(loaded)]
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    head = f"configuration  {loaded.path or 'no file: all defaults'}"
    lines = [f"{name:<{names}}  {value:<{min(values, 50)}}  {origin}" for name, value, origin in rows]
    return "\n".join([head, *lines, *(f"warning  {warning}" for warning in loaded.warnings)])


def _rows(loaded: Loaded) -> Iterator[tuple[str, object, str]]:
    for key, _ in leaves():
        yield ".".join(key), value_of(loaded.config, key), loaded.origins.get(key, DEFAULT)


def _plain(value: object) -> object:
    """JSON's own kinds as they are; durations, sizes and addresses as they are written."""
    if value is None or type(value) in (bool, int, str):
        return value
    return [str(item) for item in value] if isinstance(value, tuple) else str(value)
