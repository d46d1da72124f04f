"""Reads tag filters and rollback settings from options and files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client.cli.session import EXIT_USAGE, fail
from ferryman_client.cli.words import enum_number

_ROLLBACK_WORDS = {
    "failure": types_pb2.ROLLBACK_EVENT_DEPLOYMENT_FAILURE,
    "stop": types_pb2.ROLLBACK_EVENT_DEPLOYMENT_STOP_ON_REQUEST,
    "alarm": types_pb2.ROLLBACK_EVENT_DEPLOYMENT_STOP_ON_ALARM,
}


class FilterText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """A tag filter as CodeDeploy's JSON writes it."""

    key: str = ""
    value: str = ""
    type: str = ""


def tag_filter(text: str) -> inventory_pb2.TagFilter:
    """Returns the filter of `KEY=VALUE`, `KEY` (any value) or `=VALUE` (any key)."""
    key, equals, value = text.partition("=")
    if not key and not value:
        fail(f"'{text}' is no tag filter: write KEY=VALUE, KEY or =VALUE", EXIT_USAGE)
    if not equals or not value:
        return inventory_pb2.TagFilter(type=inventory_pb2.TAG_FILTER_TYPE_KEY_ONLY, key=key)
    if not key:
        return inventory_pb2.TagFilter(type=inventory_pb2.TAG_FILTER_TYPE_VALUE_ONLY, value=value)
    return inventory_pb2.TagFilter(type=inventory_pb2.TAG_FILTER_TYPE_KEY_AND_VALUE, key=key, value=value)


def resource_tags(texts: Iterable[str]) -> list[types_pb2.Tag]:
    """Returns the tags of `KEY=VALUE`; a value may be empty, a key may not."""
    tags = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            fail(f"'{text}' is no tag: write KEY=VALUE", EXIT_USAGE)
        tags.append(types_pb2.Tag(key=key, value=value))
    return tags


def selection(tags: list[str] | None, tag_set: Path | None) -> inventory_pb2.Selection | None:
    """Returns the selection that the options ask for; None when neither is given."""
    if tags and tag_set is not None:
        fail("give --tag or --tag-set, not both", EXIT_USAGE)
    if tag_set is not None:
        return inventory_pb2.Selection(tag_set=read_tag_set(tag_set))
    if tags:
        return inventory_pb2.Selection(tag_filters=[tag_filter(text) for text in tags])
    return None


def read_tag_set(path: Path) -> inventory_pb2.TagSet:
    """Returns the tag set of a YAML or JSON file: a list of groups, each a list of {Key, Value, Type}."""
    try:
        groups = msgspec.convert(yaml.safe_load(path.read_bytes()), list[list[FilterText]])
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as problem:
        fail(f"cannot use the tag set {path}: {problem}", EXIT_USAGE)
    return inventory_pb2.TagSet(
        groups=[
            inventory_pb2.TagGroup(filters=[filter_message(item, path) for item in group]) for group in groups
        ]
    )


def auto_rollback(text: str | None) -> inventory_pb2.AutoRollback | None:
    """Returns the setting of `--rollback-on failure,stop,alarm` or `none`; None when the option is not given."""
    if text is None:
        return None
    if text == "none":
        return inventory_pb2.AutoRollback(enabled=False)
    events: list[Any] = []
    for word in text.split(","):
        if word not in _ROLLBACK_WORDS:
            fail(
                f"'{word}' is no reason for a rollback: choose from failure, stop, alarm, or none", EXIT_USAGE
            )
        events.append(_ROLLBACK_WORDS[word])
    return inventory_pb2.AutoRollback(enabled=True, events=events)


def filter_message(item: FilterText, path: Path) -> inventory_pb2.TagFilter:
    """Returns the filter that an entry of the file `path` describes; ends the process at an unknown type."""
    number = 0
    if item.type:
        found = enum_number(inventory_pb2.TagFilterType.DESCRIPTOR, item.type)
        if found is None:
            fail(
                f"{path}: '{item.type}' is no filter type: KEY_ONLY, VALUE_ONLY or KEY_AND_VALUE", EXIT_USAGE
            )
        number = found
    return inventory_pb2.TagFilter(
        type=inventory_pb2.TagFilterType.ValueType(number), key=item.key, value=item.value
    )
