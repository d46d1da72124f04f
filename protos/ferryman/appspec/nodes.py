"""The shape of a YAML document, with places and the scalars as they were written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(slots=True)
class Scalar:
    """`is_plain`: written without quotes, so that YAML would give it a type. Lines and columns count from 1."""

    value: str
    is_plain: bool
    line: int
    column: int

    @property
    def is_null(self) -> bool:
        return self.is_plain and self.value in _NULLS

    @property
    def kind(self) -> str:
        return "nothing" if self.is_null else "a single value"


@dataclass(slots=True)
class Sequence:
    """A list, with its place."""

    line: int
    column: int
    items: list[Node] = field(default_factory=list)
    is_null = False
    kind = "a list"


@dataclass(slots=True)
class Mapping:
    """Keys and values in the order of the file, with its place."""

    line: int
    column: int
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    is_null = False
    kind = "a mapping"


Node: TypeAlias = Scalar | Sequence | Mapping
