"""Dataclasses for values that are made several times an event.

For the type checker they are frozen like all the others. At run time they are not: freezing makes `__init__` set each
field through `object.__setattr__`, which tripled the cost of a TargetRecord and took a quarter of all time per event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as hot_dataclass
else:
    from dataclasses import dataclass

    def hot_dataclass(*, frozen: bool, slots: bool, kw_only: bool) -> object:
        """Takes the arguments that the type checker reads; `frozen` is for it alone."""
        return dataclass(slots=slots, kw_only=kw_only, unsafe_hash=frozen)


__all__ = ["hot_dataclass"]
