"""Which instances belong to a deployment group: filters over tags (CP section 3).

The filters of one tag group are alternatives; of the groups of a tag set every one needs a match. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

WILDCARD = "*"
"""In a filter's value: any run of characters, none included (CP-049). There is no way to quote it (A39)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagLimits:
    """How much a selection may hold: groups of a set, filters of a group, characters of a key and a value (CP-421)."""

    groups: int = 3
    filters: int = 10
    key: int = 128
    value: int = 256


_DEFAULT_LIMITS = TagLimits()


class Tag(NamedTuple):
    """Key and value; both are case-sensitive (CP-032)."""

    key: str
    value: str


class TagFilterType(StrEnum):
    """CP-036."""

    KEY_ONLY = "KEY_ONLY"
    VALUE_ONLY = "VALUE_ONLY"
    KEY_AND_VALUE = "KEY_AND_VALUE"


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFilter:
    type: TagFilterType
    key: str = ""
    value: str = ""

    @classmethod
    def of(cls, key: str = "", value: str = "", type: TagFilterType | None = None) -> TagFilter:
        """A filter whose type, when None, follows from what is given (CP-036)."""
        if type is None:
            if key and value:
                type = TagFilterType.KEY_AND_VALUE
            else:
                type = TagFilterType.KEY_ONLY if key else TagFilterType.VALUE_ONLY
        return cls(type=type, key=key, value=value)

    def matches(self, tag: Tag) -> bool:
        """CP-038, CP-039, CP-040; case counts (CP-032)."""
        if self.type is not TagFilterType.VALUE_ONLY and tag.key != self.key:
            return False
        return self.type is TagFilterType.KEY_ONLY or fits(self.value, tag.value)


TagGroup = tuple[TagFilter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters of a single group, or a set of groups; read back in the form it was written (CP-048)."""

    tag_filters: TagGroup = ()
    tag_set: tuple[TagGroup, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Selects nothing at all (CP-171)."""
        return not self.tag_filters and not self.tag_set


NO_SELECTION = Selection()


class SelectionProblem(ValueError):
    """A selection that cannot be accepted; `reason` is CodeDeploy's exception name."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def matches(selection: Selection, tags: Iterable[Tag]) -> bool:
    """Whether an instance with these tags belongs (CP-041 to CP-044)."""
    if selection.is_empty:
        return False
    held = tuple(tags)
    groups = selection.tag_set or (selection.tag_filters,)
    return all(any(one.matches(tag) for one in group for tag in held) for group in groups)


def validate(selection: Selection, *, on_premises: bool = False, limits: TagLimits = _DEFAULT_LIMITS) -> None:
    """Raise SelectionProblem for the first mistake; `on_premises` chooses between the original's two sets of names."""
    tag_reason = "InvalidTagException" if on_premises else "InvalidEC2TagException"
    if selection.tag_filters and selection.tag_set:
        raise SelectionProblem(
            "InvalidOnPremisesTagCombinationException"
            if on_premises
            else "InvalidEC2TagCombinationException",
            "a selection has either tag filters or a tag set, not both: leave one of them out",
        )
    if len(selection.tag_set) > limits.groups:
        raise SelectionProblem(
            "TagSetListLimitExceededException",
            f"a tag set holds at most {limits.groups} tag groups, this one has {len(selection.tag_set)}",
        )
    for number, group in enumerate(selection.tag_set or (selection.tag_filters,), start=1):
        if not group and selection.tag_set:
            raise SelectionProblem(
                tag_reason, f"tag group {number} of the tag set is empty: give it a filter or drop it"
            )
        if len(group) > limits.filters:
            raise SelectionProblem(
                tag_reason,
                f"a tag group holds at most {limits.filters} tags, group {number} has {len(group)}",
            )
        for one in group:
            _validate_filter(one, tag_reason, limits)


def _validate_filter(one: TagFilter, reason: str, limits: TagLimits) -> None:
    shown = f"tag filter {one.key!r}={one.value!r}"
    if one.type is not TagFilterType.VALUE_ONLY and not one.key:
        raise SelectionProblem(reason, f"{shown} is {one.type} but has no key")
    if one.type is TagFilterType.VALUE_ONLY and not one.value:
        raise SelectionProblem(reason, f"{shown} is {one.type} but has no value")
    if len(one.key) > limits.key:
        raise SelectionProblem(
            "InvalidTagException", f"a tag key has at most {limits.key} characters, not {len(one.key)}"
        )
    if len(one.value) > limits.value:
        raise SelectionProblem(
            "InvalidTagException", f"a tag value has at most {limits.value} characters, not {len(one.value)}"
        )
    if not (one.key + one.value).isprintable():
        raise SelectionProblem("InvalidTagException", f"{shown} holds a character that cannot be printed")


def fits(pattern: str, text: str) -> bool:
    """Whether `text` fits a pattern with wildcards. Not a regular expression: many stars must not take long."""
    head, *rest = pattern.split(WILDCARD)
    if not rest:
        return text == pattern
    tail = rest.pop()
    if len(text) < len(head) + len(tail) or not text.startswith(head) or not text.endswith(tail):
        return False
    place, end = len(head), len(text) - len(tail)
    for part in rest:
        place = text.find(part, place, end)
        if place < 0:
            return False
        place += len(part)
    return True
