"""Reads of several things by name in one call: how many are allowed, and what is said of those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ferryman_coordinator.errors import LimitExceeded
from ferryman_coordinator.operations import names

Item = TypeVar("Item")

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[Item]):
    """Those that exist, in the order that they were asked for; `message` names the others (CP-463)."""

    items: tuple[Item, ...]
    message: str = ""


_REASON = "BatchLimitExceededException"


def check_size(what: str, asked: Sequence[object], most: int, setting: str, reason: str = _REASON) -> None:
    """Raises LimitExceeded (CP-464, CP-465)."""
    if len(asked) > most:
        raise LimitExceeded(
            reason,
            f"{len(asked)} {what} are asked for, at most {most} are allowed in one call: ask in several, or raise"
            f" limits.{setting} in the coordinator's configuration",
        )


def missing_message(what: str, missing: Sequence[str]) -> str:
    """Empty when nothing is missing."""
    if not missing:
        return ""
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return f"no such {what}: {', '.join(names.shown(one) for one in missing[:_SHOWN])}{more}"
