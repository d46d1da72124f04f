"""What of a changed configuration takes effect without a restart (AG-067)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ferryman_agent.config.original import Key
from ferryman_agent.config.schema import Config
from ferryman_agent.config.walk import is_reloadable, leaves, value_of


@dataclass(frozen=True, slots=True)
class Difference:
    """Settings by their dotted names. `config`: the old one with the new values of those that are `reloaded`."""

    config: Config
    reloaded: tuple[str, ...]
    needs_restart: tuple[str, ...]


def reloadable_difference(old: Config, new: Config) -> Difference:
    """Compares two configurations; those that need a restart keep their old values in the result."""
    changed = [(key, field) for key, field in leaves() if value_of(old, key) != value_of(new, key)]
    taken = {key: value_of(new, key) for key, field in changed if is_reloadable(field)}
    return Difference(
        config=_replaced(old, taken),
        reloaded=tuple(".".join(key) for key in taken),
        needs_restart=tuple(".".join(key) for key, field in changed if not is_reloadable(field)),
    )


def _replaced(config: Config, values: Mapping[Key, object]) -> Config:
    for key, value in values.items():
        config = _with(config, key, value)
    return config


def _with(section: Any, key: Key, value: object) -> Any:
    inner = value if len(key) == 1 else _with(getattr(section, key[0]), key[1:], value)
    return msgspec.structs.replace(section, **{key[0]: inner})
