"""Tag filters, tag sets and what they select."""

from __future__ import annotations

from collections.abc import Iterable

from ferryman.v1 import inventory_pb2
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.core.tags import Selection, TagFilter


def selection_to(selection: Selection) -> inventory_pb2.Selection:
    groups = [inventory_pb2.TagGroup(filters=_filters_to(group)) for group in selection.tag_set]
    return inventory_pb2.Selection(
        tag_filters=_filters_to(selection.tag_filters),
        tag_set=inventory_pb2.TagSet(groups=groups) if groups else None,
    )


def selection_from(selection: inventory_pb2.Selection) -> Selection:
    """Raises Invalid."""
    return Selection(
        tag_filters=filters_from(selection.tag_filters),
        tag_set=tuple(filters_from(group.filters) for group in selection.tag_set.groups),
    )


def filters_from(filters: Iterable[inventory_pb2.TagFilter]) -> tuple[TagFilter, ...]:
    """Raises Invalid."""
    return tuple(
        TagFilter.of(one.key, one.value, words.tag_filter_types.word(one.type) if one.type else None)
        for one in filters
    )


def _filters_to(filters: Iterable[TagFilter]) -> list[inventory_pb2.TagFilter]:
    return [
        inventory_pb2.TagFilter(type=words.tag_filter_types.wire(one.type), key=one.key, value=one.value)
        for one in filters
    ]
