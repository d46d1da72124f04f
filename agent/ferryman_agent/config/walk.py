"""The schema as a list of settings, and a configuration as values by their paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from ferryman_agent.config.original import Key
from ferryman_agent.config.schema import Config, Section


def leaves(
    struct: type[Section] = Config, prefix: Key = ()
) -> Iterator[tuple[Key, msgspec.structs.FieldInfo]]:
    """Every setting with its path, such as `("hooks", "cwd")`, in the order of the schema."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from leaves(field.type, (*prefix, field.name))
        else:
            yield (*prefix, field.name), field


def value_of(config: Config, key: Key) -> Any:
    """Returns the value of one setting."""
    found: Any = config
    for name in key:
        found = getattr(found, name)
    return found


def metas(field: msgspec.structs.FieldInfo) -> tuple[msgspec.Meta, ...]:
    """What the schema says about a setting."""
    return tuple(meta for meta in get_args(field.type)[1:] if isinstance(meta, msgspec.Meta))


def span(field: msgspec.structs.FieldInfo) -> tuple[str, str] | None:
    """Least and most of a duration or size, as they are written; None for other kinds."""
    for meta in metas(field):
        if meta.extra and "least" in meta.extra:
            return meta.extra["least"], meta.extra["most"]
    return None


def is_reloadable(field: msgspec.structs.FieldInfo) -> bool:
    """Whether a change takes effect without a restart (AG-067)."""
    return any(meta.extra and meta.extra.get("reloadable") for meta in metas(field))
