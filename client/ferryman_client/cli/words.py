"""Wire messages as people and scripts read them: CodeDeploy's spelling, ISO times, stable field names.

`plain` is what `--json` prints: every field of the message is there, under its camelCase name, absent ones as null.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from ferryman.locations import s3_text
from ferryman.v1 import inventory_pb2, types_pb2

# Enums that CodeDeploy spells in one word of capitalised parts; the others are left in capitals.
_CAPITALISED = frozenset(
    (
        "DeploymentStatus",
        "TargetStatus",
        "LifecycleEventStatus",
        "LifecycleErrorCode",
        "InstanceHealth",
        "RevisionHealth",
        "RegistrationStatus",
        "UserKind",
        "CredentialKind",
        "Effect",
        "KeyStatus",
        "AccessCause",
    )
)
_SPELT = {
    ("ComputePlatform", "SERVER"): "Server",
    ("ComputePlatform", "LAMBDA"): "Lambda",
    ("ComputePlatform", "ECS"): "ECS",
    ("BundleType", "ZIP"): "zip",
    ("BundleType", "TAR"): "tar",
    ("BundleType", "TGZ"): "tgz",
    ("InstanceKind", "ON_PREMISES"): "on-premises",
    ("InstanceKind", "CLOUD"): "cloud",
}


def enum_word(enum: EnumDescriptor | None, number: int) -> str | None:
    """Returns how a value of an enum is spelt; None for the unspecified one."""
    value = enum.values_by_number.get(number) if enum is not None else None
    if enum is None or value is None or number == 0:
        return None
    prefix = (
        "".join("_" + letter if letter.isupper() else letter.upper() for letter in enum.name).strip("_") + "_"
    )
    name = value.name.removeprefix(prefix)
    if (enum.name, name) in _SPELT:
        return _SPELT[enum.name, name]
    if enum.name in _CAPITALISED:
        return "".join(part.capitalize() for part in name.split("_"))
    return name


def enum_number(enum: EnumDescriptor, word: str) -> int | None:
    """Returns the number of a word, whatever its case; None for one that the enum does not have."""
    for number in enum.values_by_number:
        spelt = enum_word(enum, number)
        if spelt is not None and spelt.casefold() == word.casefold():
            return number
    return None


def words_of(enum: EnumDescriptor) -> list[str]:
    """Returns every word of an enum, in its order."""
    return [word for number in enum.values_by_number if (word := enum_word(enum, number)) is not None]


def iso_time(milliseconds: int) -> str:
    """Returns a time as ISO 8601 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(message: Message) -> dict[str, Any]:
    """Returns a message as JSON-ready values."""
    return {field.json_name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: Any) -> Any:
    # Any: protobuf's stubs know two unrelated types of field descriptor.
    value = getattr(message, field.name)
    if field.is_repeated:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return dict(value)
        return [_single(field, item) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return plain(value)
    if field.type == FieldDescriptor.TYPE_ENUM and field.enum_type is not None:
        return enum_word(field.enum_type, value)
    if field.name == "at" or field.name.endswith("_at"):
        return iso_time(value) if value else None
    return value


def deployment_status(number: int) -> str:
    """Returns `InProgress` and its fellows."""
    return enum_word(types_pb2.DeploymentStatus.DESCRIPTOR, number) or "-"


def target_status(number: int) -> str:
    """Returns `Succeeded` and its fellows."""
    return enum_word(types_pb2.TargetStatus.DESCRIPTOR, number) or "-"


def event_status(number: int) -> str:
    """Returns `Succeeded` and its fellows."""
    return enum_word(types_pb2.LifecycleEventStatus.DESCRIPTOR, number) or "-"


def error_code(number: int) -> str:
    """Returns `ScriptFailed` and its fellows."""
    return enum_word(types_pb2.LifecycleErrorCode.DESCRIPTOR, number) or "-"


def revision_label(location: types_pb2.RevisionLocation) -> str:
    """Returns a short name of a revision: the first twelve digits of its digest, its URL, object or commit."""
    match location.WhichOneof("source"):
        case "bundle":
            return location.bundle.sha256[:12]
        case "s3":
            s3 = location.s3
            return s3_text(s3.bucket, s3.key, s3.version, s3.e_tag)
        case "github":
            return f"{location.github.repository}@{location.github.commit_id}"
        case _:
            return location.url.url or "-"


def usage_text(usage: types_pb2.ResourceUsage) -> str:
    """Returns what scripts took, such as `1.2 s CPU, 48 MiB, 12 MiB I/O`; `-` where nothing was measured."""
    parts = []
    if usage.HasField("cpu_ms"):
        parts.append(f"{usage.cpu_ms / 1000:.1f} s CPU")
    if usage.HasField("peak_memory_bytes"):
        parts.append(_size(usage.peak_memory_bytes))
    if moved := usage.read_bytes + usage.written_bytes:
        parts.append(f"{_size(moved)} I/O")
    if usage.out_of_memory_kills:
        parts.append(f"{usage.out_of_memory_kills} out of memory")
    return ", ".join(parts) or "-"


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count // size} {unit}"
    return f"{-(-count // 1024)} KiB"


def healthy_hosts(minimum: inventory_pb2.MinimumHealthyHosts) -> str:
    """Returns `75%`, `3`, or `1 at a time`."""
    if minimum.type == inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_FLEET_PERCENT:
        return f"{minimum.value}%"
    if minimum.type == inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_MOST_CONCURRENCY:
        return f"{minimum.value} at a time"
    return str(minimum.value)


def zonal_text(zonal: inventory_pb2.ZonalConfig) -> str:
    """Returns `75% healthy in each; 600 s after the first, 60 s after each other one`."""
    first, others = zone_pauses(zonal)
    pauses = f"{first} s after the first, {others} s after each other one" if first or others else "no pause"
    return f"{healthy_hosts(zonal.minimum_healthy_hosts_per_zone)} healthy in each; {pauses}"


def zone_pauses(zonal: inventory_pb2.ZonalConfig) -> tuple[int, int]:
    """Returns the seconds after the first zone, and after each other one but the last."""
    others = zonal.monitor_duration_seconds
    has_first = zonal.HasField("first_zone_monitor_duration_seconds")
    return (zonal.first_zone_monitor_duration_seconds if has_first else others), others


def tags_text(tags: Iterable[types_pb2.Tag]) -> str:
    """Returns `K=V` pairs, comma-separated."""
    return ", ".join(f"{tag.key}={tag.value}" if tag.value else tag.key for tag in tags)


def selection_text(selection: inventory_pb2.Selection) -> str:
    """Returns a selection in words: `app=web or role=*`, groups in brackets."""
    if selection.tag_filters:
        return " or ".join(_filter_text(item) for item in selection.tag_filters)
    groups = (
        "(" + " or ".join(_filter_text(item) for item in group.filters) + ")"
        for group in selection.tag_set.groups
    )
    return " and ".join(groups) or "none"


def _filter_text(item: inventory_pb2.TagFilter) -> str:
    match item.type:
        case inventory_pb2.TAG_FILTER_TYPE_KEY_ONLY:
            return item.key
        case inventory_pb2.TAG_FILTER_TYPE_VALUE_ONLY:
            return f"={item.value}"
        case _:
            return f"{item.key}={item.value}"


def rollback_text(setting: inventory_pb2.AutoRollback) -> str:
    """Returns `failure, stop`, or `none`."""
    words = {
        types_pb2.ROLLBACK_EVENT_DEPLOYMENT_FAILURE: "failure",
        types_pb2.ROLLBACK_EVENT_DEPLOYMENT_STOP_ON_REQUEST: "stop",
        types_pb2.ROLLBACK_EVENT_DEPLOYMENT_STOP_ON_ALARM: "alarm",
    }
    if not setting.enabled:
        return "none"
    return ", ".join(words[event] for event in setting.events if event in words)
