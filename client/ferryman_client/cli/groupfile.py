"""Reads a deployment group from a YAML file (`ferryman group create --from`)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from ferryman.v1 import inventory_pb2
from ferryman_client.cli.selections import FilterText, auto_rollback, filter_message, tag_filter
from ferryman_client.cli.session import EXIT_USAGE, fail


class GroupFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The file's content; every key may be left out."""

    tags: list[str] = []
    tag_set: list[list[FilterText]] = []
    config: str = ""
    rollback_on: list[str] = []


def read_group_file(path: Path) -> inventory_pb2.CreateDeploymentGroupRequest:
    """Returns the request that the file describes, without names; ends the process when it cannot be used."""
    try:
        content = msgspec.convert(yaml.safe_load(path.read_bytes()) or {}, GroupFile)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as problem:
        fail(f"cannot use the group file {path}: {problem}", EXIT_USAGE)
    if content.tags and content.tag_set:
        fail(f"{path}: give tags or tagSet, not both", EXIT_USAGE)
    request = inventory_pb2.CreateDeploymentGroupRequest(deployment_config_name=content.config)
    if content.tags:
        request.selection.tag_filters.extend(tag_filter(text) for text in content.tags)
    if content.tag_set:
        for group in content.tag_set:
            request.selection.tag_set.groups.add().filters.extend(
                filter_message(item, path) for item in group
            )
    if (rollback := auto_rollback(",".join(content.rollback_on) or None)) is not None:
        request.auto_rollback.CopyFrom(rollback)
    return request
