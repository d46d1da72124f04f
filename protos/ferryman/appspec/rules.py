"""The rules of the top level and of `files`, and the one function that parses (AG section 9)."""

from __future__ import annotations

import re
from collections.abc import Collection

from ferryman.appspec import hooks as hook_rules
from ferryman.appspec import permissions as permission_rules
from ferryman.appspec.fields import (
    Entry,
    described,
    name_of,
    read_list,
    read_mapping,
    text_of,
    warn_of_expansion,
)
from ferryman.appspec.findings import Findings, shown
from ferryman.appspec.model import AppSpec, FileMapping, ParsedAppSpec, Place
from ferryman.appspec.nodes import Mapping, Scalar
from ferryman.appspec.paths import inside_revision, is_absolute, normal_destination
from ferryman.appspec.reader import read

TOP_LEVEL = ("version", "os", "files", "file_exists_behavior", "permissions", "hooks")
SYSTEMS = ("linux", "windows")
BEHAVIORS = ("DISALLOW", "OVERWRITE", "RETAIN")

_ZERO = re.compile(r"[-+]?(0[0_]*(\.0*)?|\.0+)([eE][-+]?[0-9]+)?")


def parse(
    source: bytes,
    *,
    strict: bool = True,
    host_os: str | None = None,
    possible_events: Collection[str] | None = None,
    custom_events: Collection[str] = (),
) -> ParsedAppSpec:
    """Reads an AppSpec file; never raises, whatever the bytes are (V2-172). All mistakes are named at once (AG-268).

    `strict` is the level of lint, push and registration; without it, what the original tolerated is a warning
    (AG-277). `host_os` makes another `os` an error (AG-V05). `possible_events` is the coordinator's list of lifecycle
    events (AG-V54, AG-V55), `custom_events` those that a local deployment adds (AG-V53).
    """
    findings = Findings(strict=strict)
    root = read(source, findings)
    if root is None:
        return ParsedAppSpec(appspec=None, findings=findings.ordered())
    if not isinstance(root, Mapping):
        place = Place(root.line, root.column)
        findings.error("APPSPEC_NOT_MAPPING", place, f"the file must be a mapping of keys, not {root.kind}")
        return ParsedAppSpec(appspec=None, findings=findings.ordered())
    events = hook_rules.Events(possible=possible_events, custom=custom_events)
    appspec = _appspec(root, findings, host_os, events)
    return ParsedAppSpec(appspec=None if findings.has_errors else appspec, findings=findings.ordered())


def _appspec(root: Mapping, findings: Findings, host_os: str | None, events: hook_rules.Events) -> AppSpec:
    def unknown(name: str, place: Place) -> bool:
        if name.lower() != "resources":
            return False
        message = f"{shown(name)} belongs to the AppSpec files of other platforms; it is not used here"
        findings.tolerated("APPSPEC_WRONG_PLATFORM", place, message)
        return True

    fields = read_mapping(root, "", findings, known=TOP_LEVEL, unknown=unknown)
    top = Place(root.line, root.column)
    _version(fields.get("version"), top, findings)
    system = _os(fields.get("os"), top, findings, host_os)
    windows = system == "windows"
    return AppSpec(
        os=system,
        files=_files(fields.get("files"), findings, windows=windows),
        file_exists_behavior=_behavior(fields.get("file_exists_behavior"), findings),
        permissions=permission_rules.read_permissions(fields.get("permissions"), findings, windows=windows),
        hooks=hook_rules.read_hooks(fields.get("hooks"), findings, events, windows=windows),
    )


def _version(given: Entry | None, top: Place, findings: Findings) -> None:
    if given is None or given.is_null:
        findings.error(
            "APPSPEC_VERSION", given.key if given else top, "'version' is missing; write 'version: 0.0'"
        )
        return
    node = given.node
    if not isinstance(node, Scalar) or not _ZERO.fullmatch(node.value.strip()):
        message = f"'version' must be 0.0, not {described(node)}"
        findings.error("APPSPEC_VERSION", given.place, message)
    elif not node.is_plain:
        findings.warn("APPSPEC_VERSION", given.place, f"'version' is quoted ({shown(node.value)}); write 0.0")


def _os(given: Entry | None, top: Place, findings: Findings, host_os: str | None) -> str:
    if given is None or given.is_null:
        message = "'os' is missing; write 'os: linux' or 'os: windows'"
        findings.error("APPSPEC_OS", given.key if given else top, message)
        return "linux"
    value = name_of(given.node)
    if value not in SYSTEMS:
        hint = findings.nearest(value or "", SYSTEMS)
        message = f"'os' must be linux or windows, not {described(given.node)}{hint}"
        findings.error("APPSPEC_OS", given.place, message)
        return "windows" if value and value.strip().lower() == "windows" else "linux"
    if host_os is not None and value != host_os:
        message = f"'os' is {value}, but this host runs {host_os}"
        findings.error("APPSPEC_OS_MISMATCH", given.place, message)
    return value


def _behavior(given: Entry | None, findings: Findings) -> str | None:
    if given is None:
        return None
    if given.is_null:
        findings.warn(
            "FILE_EXISTS_BEHAVIOR", given.key, "'file_exists_behavior' is empty; it counts as absent"
        )
        return None
    value = name_of(given.node)
    if value in BEHAVIORS:
        return value
    message = f"'file_exists_behavior' must be one of {', '.join(BEHAVIORS)}, not {described(given.node)}"
    findings.error("FILE_EXISTS_BEHAVIOR", given.place, message + findings.nearest(value or "", BEHAVIORS))
    return None


def _files(given: Entry | None, findings: Findings, *, windows: bool) -> tuple[FileMapping, ...]:
    if given is None:
        return ()
    if given.is_null:
        findings.warn("FILES_SHAPE", given.key, "'files' is empty; it counts as absent")
        return ()
    items = read_list(given.node, "files")
    if items is None:
        message = f"'files' must be a list of source and destination, not {given.node.kind}"
        findings.error("FILES_SHAPE", given.place, message)
        return ()
    mappings = [_mapping(item, number, findings, windows) for number, item in enumerate(items, 1)]
    return tuple(mapping for mapping in mappings if mapping is not None)


def _mapping(item: Entry, number: int, findings: Findings, windows: bool) -> FileMapping | None:
    if not isinstance(item.node, Mapping):
        message = f"entry {number} of 'files' must have source and destination, but is {item.node.kind}"
        findings.error("FILES_SHAPE", item.place, message)
        return None

    def unknown(name: str, place: Place) -> bool:
        if name != "file_exists_behavior":
            return False
        message = "key 'file_exists_behavior' belongs to the top level of the file, beside 'files'"
        findings.tolerated("UNKNOWN_KEY", place, message)
        return True

    path = item.place.key_path
    fields = read_mapping(item.node, path, findings, known=("source", "destination"), unknown=unknown)
    source = _path(fields.get("source"), "source", number, item.place, findings)
    label = f" of source {shown(source)}" if source else ""
    destination = _path(fields.get("destination"), "destination", number, item.place, findings, label)
    if source is not None and inside_revision(source, windows=windows) is None:
        message = f"source {shown(source)} leaves the revision; name a path inside it"
        findings.error("FILES_SOURCE_ESCAPES", fields["source"].place, message)
    if destination is not None:
        _check_destination(destination, fields["destination"].place, findings, windows=windows)
    if source is None or destination is None:
        return None
    return FileMapping(source, destination, item.place)


def _path(
    given: Entry | None, key: str, number: int, item: Place, findings: Findings, label: str = ""
) -> str | None:
    if given is None or given.is_null:
        message = f"entry {number} of 'files'{label} has no {key}"
        findings.error(f"FILES_{key.upper()}_MISSING", given.key if given else item, message)
        return None
    value = text_of(given.node)
    if value is None:
        quote = "; quote it" if isinstance(given.node, Scalar) else ""
        message = f"{key} of entry {number} of 'files' must be text, not {described(given.node)}{quote}"
        findings.error("FILES_TYPE", given.place, message)
        return None
    if not value.strip() or "\0" in value:
        what = (
            "contains a NUL character" if "\0" in value else "is an empty text; '/' means the whole revision"
        )
        findings.error("FILES_TYPE", given.place, f"{key} of entry {number} of 'files' {what}")
        return None
    warn_of_expansion(value, key, given.place, findings)
    return value


def _check_destination(value: str, place: Place, findings: Findings, *, windows: bool) -> None:
    if not is_absolute(value, windows=windows):
        message = f"destination {shown(value)} is not an absolute path"
        findings.error("FILES_DESTINATION_RELATIVE", place, message)
    elif normal_destination(value, windows=windows) is None:
        message = f"destination {shown(value)} climbs above the root of the file system"
        findings.error("FILES_DESTINATION_ESCAPES", place, message)
