"""What can be said of an AppSpec file once the content of its revision is known.

Rules AG-V13 to V15, V33, V39 to V42, V48 and V56.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ferryman.appspec.findings import Findings, shown
from ferryman.appspec.mapping import expand
from ferryman.appspec.matching import select
from ferryman.appspec.model import AppSpec, EntryKind, Finding, Script
from ferryman.appspec.paths import ancestors, inside_revision


@dataclass(frozen=True, slots=True)
class ScriptFacts:
    """What is known of a script's file."""

    first_line: bytes | None = None
    is_executable: bool = True
    # In any of its lines; that of the first one shows by itself.
    has_carriage_returns: bool = False


def check_against(
    appspec: AppSpec,
    listing: Mapping[str, EntryKind],
    *,
    scripts: Mapping[str, ScriptFacts] | None = None,
    strict: bool = True,
) -> tuple[Finding, ...]:
    """Returns all that does not fit between an AppSpec file and the revision it lies in; empty when all does.

    `listing` has every entry by path relative to the root (with `/`), links not followed. `scripts` has what the caller
    knows of the files that are scripts: without it AG-V56, and what push warns of (AG-523), are not checked.
    """
    findings = Findings(strict=strict)
    objects: dict[str, EntryKind] = {}
    for target in expand(appspec, listing, findings):
        for parent in ancestors(target.path):
            # Whether the deployment makes it, only the host can say; either way it may be an `object`.
            objects.setdefault(parent, EntryKind.DIRECTORY)
        objects[target.path] = target.kind
    if not appspec.is_windows:
        select(appspec, objects, (), findings)
    facts = scripts or {}
    for event, of_event in appspec.hooks.items():
        for script in of_event:
            _check_script(event, script, appspec, listing, facts, findings)
    return findings.ordered()


def _check_script(
    event: str,
    script: Script,
    appspec: AppSpec,
    listing: Mapping[str, EntryKind],
    facts: Mapping[str, ScriptFacts],
    findings: Findings,
) -> None:
    path = inside_revision(script.location, windows=appspec.is_windows) or ""
    kind = listing.get(path) if path else EntryKind.DIRECTORY
    if kind is EntryKind.FILE:
        if path in facts and not appspec.is_windows:
            _check_file(script, facts[path], findings)
        return
    if kind is EntryKind.LINK:
        # Where it leads, only a look at the host can tell; the archive reader refuses those that leave the revision.
        return
    if kind is None and any(listing.get(parent[1:]) is EntryKind.LINK for parent in ancestors(f"/{path}")):
        return
    what = "is a directory" if kind is EntryKind.DIRECTORY else "does not exist in the revision"
    first_word = inside_revision(script.location.split()[0], windows=appspec.is_windows)
    hint = ""
    if kind is None and first_word != path and listing.get(first_word or "") is EntryKind.FILE:
        hint = f"; {shown(first_word or '')} does: a location is a file name and takes no arguments"
    message = f"script {shown(script.location)} of {event} {what}{hint}"
    findings.error("SCRIPT_LOCATION_NOT_FOUND", script.place, message)


def _check_file(script: Script, facts: ScriptFacts, findings: Findings) -> None:
    _check_first_line(script, facts.first_line, findings)
    name = shown(script.location)
    if not facts.is_executable:
        message = (
            f"script {name} has no permission to execute; agents will add it, chmod +x says that it is meant"
        )
        findings.warn("SCRIPT_NOT_EXECUTABLE", script.place, message)
    if facts.has_carriage_returns and b"\r" not in (facts.first_line or b""):
        message = f"script {name} has lines that end with a carriage return; save it with Unix line ends"
        findings.warn("SCRIPT_LINE_ENDS", script.place, message)


def _check_first_line(script: Script, line: bytes | None, findings: Findings) -> None:
    if line is None:
        return
    line = line.split(b"\n", 1)[0]
    if not line.startswith(b"#!"):
        if not line.startswith(b"\x7fELF"):
            message = f"script {shown(script.location)} has no '#!' line; it will run with /bin/sh"
            findings.warn("SCRIPT_FIRST_LINE", script.place, message)
    elif b"\r" in line:
        message = f"the '#!' line of {shown(script.location)} ends with a carriage return; save it with Unix line ends"
        findings.warn("SCRIPT_FIRST_LINE", script.place, message)
    elif not line[2:].strip().startswith(b"/"):
        message = f"the '#!' line of {shown(script.location)} names no absolute path of an interpreter"
        findings.warn("SCRIPT_FIRST_LINE", script.place, message)
