"""Takes mappings apart: known keys, unknown ones, repeated ones, merged ones; and scalars with their YAML types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ferryman.appspec.findings import Findings, shown
from ferryman.appspec.model import Place
from ferryman.appspec.nodes import Mapping, Node, Scalar, Sequence

_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_TYPED = re.compile(
    r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?(e[-+]?[0-9]+)?|[-+]?\.[0-9]+|0[xob][0-9a-f_]+|[-+]?[0-9]+(:[0-5]?[0-9])+",
    re.IGNORECASE,
)
_EXPANSION = re.compile(r"[*?]|\$\{?\w|%\w+%|^~")

_NO_KEY = "a key must be a single value, not "

Unknown = Callable[[str, Place], bool]
"""Says what is to be said of an unknown key; False leaves it to the usual words."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, where it stands, and where its key does; in a list both are the same."""

    node: Node
    place: Place
    key: Place

    @property
    def is_null(self) -> bool:
        return self.node.is_null


def entry(node: Node, path: str) -> Entry:
    """Returns a node as an entry at `path`."""
    place = Place(node.line, node.column, path)
    return Entry(node, place, place)


def read_mapping(
    node: Mapping,
    path: str,
    findings: Findings,
    *,
    known: Iterable[str] | None,
    unknown: Unknown | None = None,
) -> dict[str, Entry]:
    """Returns key to value. Repeated keys: the last one counts (AG-271). `known` None accepts any key.

    Keys that are not known are reported with the nearest known one and left out.
    """
    allowed = None if known is None else tuple(known)
    fields: dict[str, Entry] = {}
    for key, value in _pairs(node):
        place = Place(key.line, key.column, _join(path, key.value if isinstance(key, Scalar) else "?"))
        if not isinstance(key, Scalar):
            findings.error("APPSPEC_KEY", place, _NO_KEY + key.kind)
            continue
        name = key.value
        if allowed is not None and name not in allowed:
            if unknown is None or not unknown(name, place):
                hint = findings.nearest(name, allowed)
                findings.tolerated("UNKNOWN_KEY", place, f"key {shown(name)} is not known here{hint}")
            continue
        if name in fields:
            message = f"key {shown(name)} stands here a second time (first in line {fields[name].key.line})"
            findings.tolerated("DUPLICATE_KEY", place, f"{message}; the last one counts")
        fields[name] = Entry(value, Place(value.line, value.column, place.key_path), place)
    for key, value in _merged(node, path, findings):
        if not isinstance(key, Scalar):
            findings.error("APPSPEC_KEY", Place(key.line, key.column, _join(path, "?")), _NO_KEY + key.kind)
        elif allowed is None or key.value in allowed:
            fields.setdefault(key.value, entry(value, _join(path, key.value)))
        else:
            place = Place(key.line, key.column, _join(path, key.value))
            message = f"key {shown(key.value)}, which is merged here, is not known"
            findings.tolerated("UNKNOWN_KEY", place, message + findings.nearest(key.value, allowed))
    return fields


def read_list(node: Node, path: str) -> list[Entry] | None:
    """Returns the entries of a list, None when it is something else."""
    if not isinstance(node, Sequence):
        return None
    return [entry(item, f"{path}[{index}]") for index, item in enumerate(node.items)]


def text_of(node: Node) -> str | None:
    """Returns a value that is text for YAML as well: quoted, or not readable as number, boolean or nothing."""
    if not isinstance(node, Scalar) or node.is_null:
        return None
    if node.is_plain and (_TYPED.fullmatch(node.value) or node.value.lower() in _TRUE | _FALSE):
        return None
    return node.value


def name_of(node: Node) -> str | None:
    """Returns a single value as it was written: for names and ids, where 1000 and "1000" are the same."""
    return node.value if isinstance(node, Scalar) and not node.is_null else None


def boolean_of(node: Node) -> bool | None:
    """Returns an unquoted YAML boolean; None for all else."""
    if isinstance(node, Scalar) and node.is_plain:
        lowered = node.value.lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
    return None


def described(node: Node) -> str:
    """Returns what a wrong value is, for a message."""
    if isinstance(node, Scalar) and not node.is_null:
        return shown(node.value)
    return node.kind


def warn_of_expansion(value: str, key: str, place: Place, findings: Findings) -> None:
    """Warns of wildcards, `~` and variables, which are never expanded (AG-301)."""
    if _EXPANSION.search(value):
        message = f"{key} {shown(value)} is taken literally: wildcards, ~ and variables are not expanded"
        findings.warn("PATH_NOT_EXPANDED", place, message)


def _pairs(node: Mapping) -> list[tuple[Node, Node]]:
    return [pair for pair in node.pairs if not _is_merge(pair[0])]


def _merged(node: Mapping, path: str, findings: Findings) -> list[tuple[Node, Node]]:
    """What `<<` brings, and what that merges itself: the first of a name counts. The reader bounds it."""
    found: list[tuple[Node, Node]] = []
    for key, value in node.pairs:
        if _is_merge(key):
            sources = value.items if isinstance(value, Sequence) else [value]
            for source in sources:
                if isinstance(source, Mapping):
                    found += _pairs(source) + _merged(source, path, findings)
                else:
                    place = Place(source.line, source.column, _join(path, "<<"))
                    message = f"'<<' takes a mapping, not {described(source)}; it is ignored"
                    findings.tolerated("APPSPEC_MERGE", place, message)
    return found


def _is_merge(key: Node) -> bool:
    return isinstance(key, Scalar) and key.is_plain and key.value == "<<"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
