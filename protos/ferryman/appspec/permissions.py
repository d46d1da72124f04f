"""The rules of `permissions` (AG-V18 … AG-V25, AG-V36, AG-V37)."""

from __future__ import annotations

from ferryman.appspec.access import AccessError, parse_ace, parse_range
from ferryman.appspec.fields import (
    Entry,
    boolean_of,
    described,
    entry,
    name_of,
    read_list,
    read_mapping,
)
from ferryman.appspec.findings import Findings, shown
from ferryman.appspec.model import (
    RECURSIVE_PATTERN,
    AclEntry,
    EntryKind,
    Permission,
    Place,
    SelinuxContext,
)
from ferryman.appspec.nodes import Mapping, Scalar
from ferryman.appspec.paths import normal_destination

_KEYS = (
    "object", "pattern", "except", "owner", "group", "mode", "acls", "context", "type", "include_self",
)  # fmt: skip
_TYPES = {"file": EntryKind.FILE, "directory": EntryKind.DIRECTORY}
_BOTH = frozenset(_TYPES.values())

_MOST_EXCEPTED_PATTERNS = 100
"""Each is tried on each object: a small file could keep agent and coordinator busy for hours."""

UNCONFINED_TYPES = frozenset({"unconfined_t", "kernel_t", "init_t"})
"""SELinux types that agents refuse by default (V2-167)."""


def read_permissions(given: Entry | None, findings: Findings, *, windows: bool) -> tuple[Permission, ...]:
    """Returns the entries that could be understood."""
    if given is None:
        return ()
    if given.is_null:
        findings.warn("PERMISSIONS_SHAPE", given.key, "'permissions' is empty; it counts as absent")
        return ()
    items = read_list(given.node, "permissions")
    if items is None:
        message = f"'permissions' must be a list of entries with 'object', not {given.node.kind}"
        findings.error("PERMISSIONS_SHAPE", given.place, message)
        return ()
    if windows:
        if items:
            findings.error("PERM_WINDOWS", given.key, "'permissions' do not exist on windows; remove them")
        return ()
    found = [_permission(item, number, findings) for number, item in enumerate(items, 1)]
    return tuple(permission for permission in found if permission is not None)


def _permission(item: Entry, number: int, findings: Findings) -> Permission | None:
    if not isinstance(item.node, Mapping):
        message = (
            f"entry {number} of 'permissions' must be a mapping with 'object', not {described(item.node)}"
        )
        findings.error("PERMISSIONS_SHAPE", item.place, message)
        return None
    fields = read_mapping(item.node, item.place.key_path, findings, known=_KEYS)
    target = _object(fields.get("object"), number, item.place, findings)
    types = _types(fields.get("type"), findings)
    acls = _acls(fields.get("acls"), findings)
    _check_defaults(acls, types, target, fields, findings)
    permission = Permission(
        object=target or "/",
        pattern=_text(fields.get("pattern"), "pattern", "PERM_PATTERN", findings) or RECURSIVE_PATTERN,
        exceptions=_exceptions(fields.get("except"), findings),
        owner=_text(fields.get("owner"), "owner", "PERM_OWNER", findings),
        group=_text(fields.get("group"), "group", "PERM_GROUP", findings),
        mode=_mode(fields.get("mode"), findings),
        acls=acls,
        context=_context(fields.get("context"), findings),
        types=types,
        include_self=_include_self(fields.get("include_self"), findings),
        number=number,
        place=item.place,
    )
    return permission if target is not None else None


def _object(given: Entry | None, number: int, item: Place, findings: Findings) -> str | None:
    value = "" if given is None else (name_of(given.node) or "").strip()
    if given is None or not value:
        place = given.key if given else item
        findings.error("PERM_OBJECT_MISSING", place, f"entry {number} of 'permissions' has no object")
        return None
    normal = normal_destination(value)
    if normal is None or "\0" in value:
        message = f"object {shown(value)} of entry {number} of 'permissions' is not an absolute path"
        findings.error("PERM_OBJECT_RELATIVE", given.place, message)
        return None
    return normal


def _text(given: Entry | None, key: str, code: str, findings: Findings) -> str | None:
    if given is None or given.is_null:
        return None
    value = name_of(given.node)
    if value is None or not value.strip() or "\0" in value:
        findings.error(code, given.place, f"'{key}' must be a single text, not {described(given.node)}")
        return None
    return value.strip()


def _types(given: Entry | None, findings: Findings) -> frozenset[EntryKind]:
    chosen: set[EntryKind] = set()
    for item in _listed(given, "type", "PERM_TYPE", findings):
        kind = _TYPES.get((name_of(item.node) or "").strip())
        if kind is None:
            message = f"'type' can be file and directory, not {described(item.node)}"
            findings.error("PERM_TYPE", item.place, message)
        else:
            chosen.add(kind)
    return frozenset(chosen) or _BOTH


def _exceptions(given: Entry | None, findings: Findings) -> tuple[str, ...]:
    names: list[str] = []
    for item in _listed(given, "except", "PERM_EXCEPT", findings):
        name = name_of(item.node)
        if not name:
            message = f"'except' lists names and patterns, not {described(item.node)}"
            findings.error("PERM_EXCEPT", item.place, message)
        else:
            names.append(name)
    patterns = sum("*" in name and not name.startswith("/") for name in names)
    if given is not None and patterns > _MOST_EXCEPTED_PATTERNS:
        message = f"'except' has {patterns} patterns; {_MOST_EXCEPTED_PATTERNS} with a '*' are allowed"
        findings.error("PERM_EXCEPT", given.place, message)
        return ()
    return tuple(names)


def _listed(given: Entry | None, key: str, code: str, findings: Findings) -> list[Entry]:
    if given is None or given.is_null:
        return []
    items = read_list(given.node, given.place.key_path)
    if items is not None:
        return items
    if isinstance(given.node, Scalar):
        findings.warn(code, given.place, f"'{key}' should be a list; write [{given.node.value}]")
        return [entry(given.node, given.place.key_path)]
    findings.error(code, given.place, f"'{key}' must be a list, not {given.node.kind}")
    return []


def _mode(given: Entry | None, findings: Findings) -> int | None:
    if given is None or given.is_null:
        return None
    text = (name_of(given.node) or "").strip()
    wrong = next((character for character in text if character not in "01234567"), None)
    if not text:
        message = f"'mode' must be 1 to 4 octal digits, not {described(given.node)}"
    elif wrong is not None:
        message = f"'mode' {shown(text)} has {shown(wrong)}; it must be 1 to 4 octal digits (0 to 7)"
    elif len(text) > 4:
        message = f"'mode' {shown(text)} has {len(text)} digits; it must have 1 to 4"
    else:
        if isinstance(given.node, Scalar) and given.node.is_plain and len(text) > 1 and text[0] == "0":
            message = (
                f"unquoted 'mode' {text} is read as octal digits; other YAML readers would make it decimal"
            )
            findings.warn("PERM_MODE_LEADING_ZERO", given.place, message)
        return int(text, 8)
    findings.error("PERM_MODE", given.place, message)
    return None


def _acls(given: Entry | None, findings: Findings) -> tuple[AclEntry, ...]:
    if given is None or given.is_null:
        return ()
    items = read_list(given.node, given.place.key_path)
    if items is None:
        message = f"'acls' must be a list of entries, not {described(given.node)}"
        findings.error("PERM_ACLS_SHAPE", given.place, message)
        return ()
    entries: list[AclEntry] = []
    for item in items:
        text = name_of(item.node)
        if text is None:
            message = f"'acls' lists entries like 'user:bob:rw', not {described(item.node)}"
            findings.error("PERM_ACLS_SHAPE", item.place, message)
            continue
        try:
            ace = parse_ace(text)
        except AccessError as problem:
            findings.error(problem.code, item.place, f"ACL entry {shown(text)} {problem}")
            continue
        if any(_same_subject(ace, other) for other in entries):
            findings.error("PERM_ACE", item.place, f"ACL entry {shown(text)} is for one already listed")
        entries.append(ace)
    return tuple(entries)


def _same_subject(one: AclEntry, other: AclEntry) -> bool:
    return (one.is_default, one.tag, one.name) == (other.is_default, other.tag, other.name)


def _check_defaults(
    acls: tuple[AclEntry, ...],
    types: frozenset[EntryKind],
    target: str | None,
    fields: dict[str, Entry],
    findings: Findings,
) -> None:
    if types == {EntryKind.FILE} and any(ace.is_default for ace in acls):
        message = f"object {shown(target or '')} has default ACL entries, which only directories can have"
        findings.error("PERM_ACE_DEFAULT_ON_FILE", fields["acls"].place, message)


def _context(given: Entry | None, findings: Findings) -> SelinuxContext | None:
    if given is None or given.is_null:
        return None
    if not isinstance(given.node, Mapping):
        message = f"'context' must be a mapping with 'type', not {described(given.node)}"
        findings.error("PERM_CONTEXT_SHAPE", given.place, message)
        return None
    known = ("user", "name", "role", "type", "range")
    fields = read_mapping(given.node, given.place.key_path, findings, known=known)
    if "role" in fields:
        message = "'context.role' is not supported; remove it"
        findings.error("PERM_CONTEXT_ROLE", fields["role"].key, message)
    if "user" in fields and "name" in fields:
        message = "'context.name' is another word for 'context.user'; give one of them"
        findings.error("PERM_CONTEXT_USER", fields["name"].key, message)
    user = _text(fields.get("user") or fields.get("name"), "context.user", "PERM_CONTEXT_USER", findings)
    kind = _text(fields.get("type"), "context.type", "PERM_CONTEXT_TYPE", findings)
    if fields.get("type") is None or fields["type"].is_null:
        findings.error("PERM_CONTEXT_TYPE", given.key, "'context' needs a 'type'")
    elif kind in UNCONFINED_TYPES:
        message = f"type {kind} lifts what SELinux confines; agents refuse it unless they are told not to"
        findings.warn("PERM_CONTEXT_UNCONFINED", fields["type"].place, message)
    levels = _range(fields.get("range"), findings)
    return SelinuxContext(type=kind, user=user, range=levels) if kind is not None else None


def _range(given: Entry | None, findings: Findings) -> str | None:
    text = _text(given, "context.range", "PERM_CONTEXT_RANGE", findings)
    if text is None or given is None:
        return None
    try:
        return parse_range(text)
    except AccessError as problem:
        findings.error(problem.code, given.place, f"'context.range' {shown(text)} {problem}")
        return None


def _include_self(given: Entry | None, findings: Findings) -> bool:
    if given is None or given.is_null:
        return False
    value = boolean_of(given.node)
    if value is None:
        message = f"'include_self' must be true or false, not {described(given.node)}"
        findings.error("PERM_INCLUDE_SELF", given.place, message)
    return bool(value)
