"""Labels of applications and groups themselves, not of instances (CP-146, CP-172)."""

from __future__ import annotations

from collections.abc import Sequence

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations import names

_REASON = "InvalidTagsToAddException"


def check(tags: Sequence[Tag], limits: Limits) -> tuple[Tag, ...]:
    """`tags` by key; raises Invalid (InvalidTagsToAddException) for the first mistake."""
    if len(tags) > limits.tags_per_resource:
        raise Invalid(
            _REASON,
            f"{len(tags)} tags are given, a resource holds at most {limits.tags_per_resource}: leave some out",
        )
    for tag in tags:
        if problem := _problem(tag, limits):
            raise Invalid(
                _REASON, f"tag {names.shown(tag.key)}={names.shown(tag.value)} is not valid: {problem}"
            )
    keys = [tag.key for tag in tags]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Invalid(
            _REASON, f"tag {names.shown(twice)} is given twice: a resource has one value for each key"
        )
    return tuple(sorted(tags))


def _problem(tag: Tag, limits: Limits) -> str:
    if not tag.key:
        return "its key is empty"
    for what, text, longest in (
        ("key", tag.key, limits.tag_key_length),
        ("value", tag.value, limits.tag_value_length),
    ):
        if len(text) > longest:
            return f"its {what} has {len(text)} characters, at most {longest} are allowed"
        if not text.isprintable():
            return f"its {what} holds a character that cannot be printed"
    return ""
