"""Bytes to nodes: size, encoding, YAML syntax, documents, aliases.

Built from the parser's events and not from its object tree, so that nothing is ever instantiated (AG-275), depth and
expansion are bounded while reading, and a scalar is known as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from ferryman.appspec.characters import Suspects
from ferryman.appspec.findings import Findings, shown
from ferryman.appspec.model import Place
from ferryman.appspec.nodes import Mapping, Node, Scalar, Sequence

SIZE_LIMIT = 1024 * 1024
"""Bytes of an AppSpec file (AG-274)."""

DEPTH_LIMIT = 32
NODE_LIMIT = 100_000
"""Nodes of a document with its aliases expanded (AG-273)."""

_STANDARD = "tag:yaml.org,2002:"
_TYPED_TAGS = frozenset(_STANDARD + name for name in ("int", "float", "bool", "null", "timestamp"))
_KNOWN_TAGS = _TYPED_TAGS | {
    "!",
    _STANDARD + "str",
    _STANDARD + "seq",
    _STANDARD + "map",
    _STANDARD + "merge",
}


class _Unreadable(Exception):
    """Ends reading after a finding that leaves nothing to build on."""


def read(source: bytes, findings: Findings) -> Node | None:
    """Returns the root of the first document; None when there is none, with the reason in `findings`."""
    text = _decode(source, findings)
    if text is None:
        return None
    suspects = Suspects(text)
    builder = _Builder(findings, suspects)
    try:
        root = builder.build(yaml.parse(text, Loader=yaml.CSafeLoader))
    except _Unreadable:
        return None
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        suspects.report_after_failure(findings, at=mark.index if mark else None)
        _report_syntax(problem, suspects, findings)
        return None
    suspects.report(findings)
    if root is None or (isinstance(root, Scalar) and root.is_plain and not root.value):
        findings.error("APPSPEC_EMPTY", Place(), "the file is empty; it needs at least 'version' and 'os'")
        return None
    return root


def _decode(source: bytes, findings: Findings) -> str | None:
    if len(source) > SIZE_LIMIT:
        message = f"the file has more than {SIZE_LIMIT} bytes, the most that an AppSpec file may have"
        findings.error("APPSPEC_TOO_LARGE", Place(), message)
        return None
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        findings.error("APPSPEC_ENCODING", Place(1, 1), "the file is UTF-16; save it as UTF-8")
        return None
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        before = source[: problem.start]
        line = before.count(b"\n") + 1
        column = problem.start - (before.rfind(b"\n") + 1) + 1
        message = f"byte 0x{source[problem.start]:02x} is not UTF-8; save the file as UTF-8"
        findings.error("APPSPEC_ENCODING", Place(line, column), message)
        return None


def _report_syntax(problem: yaml.YAMLError, suspects: Suspects, findings: Findings) -> None:
    mark = getattr(problem, "problem_mark", None)
    if mark is None:
        # The reader's own error: a character that YAML does not know, which the suspects have named already.
        if not suspects.has_reported:
            findings.error("APPSPEC_SYNTAX", Place(), f"the file is not valid YAML: {problem}")
        return
    line = mark.line + 1
    if suspects.explains(line):
        return
    text = getattr(problem, "problem", None) or "it cannot be read"
    context = getattr(problem, "context", None)
    message = f"the file is not valid YAML: {f'{context}: ' if context else ''}{text}"
    findings.error("APPSPEC_SYNTAX", Place(line, mark.column + 1), message)


class _Builder:
    """Puts events together to nodes."""

    def __init__(self, findings: Findings, suspects: Suspects) -> None:
        self._findings = findings
        self._suspects = suspects
        self._open: list[Sequence | Mapping] = []
        self._keys: list[Node | None] = []
        self._sizes: list[int] = []
        self._names: list[str | None] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._root: Node | None = None
        self._documents = 0

    def build(self, events: Iterator[Event]) -> Node | None:
        for event in events:
            if isinstance(event, DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    # What follows is never used, so its own mistakes do not matter (AG-272).
                    message = "the file has more than one YAML document; only the first is used"
                    self._findings.tolerated("APPSPEC_DOCUMENTS", _place(event), message)
                    break
            elif isinstance(event, ScalarEvent):
                self._scalar(event)
            elif isinstance(event, SequenceStartEvent | MappingStartEvent):
                self._start(event)
            elif isinstance(event, CollectionEndEvent):
                self._end()
            elif isinstance(event, AliasEvent):
                self._alias(event)
        return self._root

    def _scalar(self, event: ScalarEvent) -> None:
        if event.start_mark is not None and event.end_mark is not None:
            self._suspects.saw(event.start_mark.index, event.end_mark.index, is_plain=not event.style)
        place = _place(event)
        self._check_tag(event)
        is_plain = not event.style and (event.tag is None or event.tag in _TYPED_TAGS)
        node = Scalar(event.value, is_plain, place.line, place.column)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, 1)
        self._put(node, 1)

    def _start(self, event: SequenceStartEvent | MappingStartEvent) -> None:
        self._check_tag(event)
        if len(self._open) >= DEPTH_LIMIT:
            self._refuse("APPSPEC_DEPTH", event, f"more than {DEPTH_LIMIT} levels of nesting")
        kind = Sequence if isinstance(event, SequenceStartEvent) else Mapping
        place = _place(event)
        self._open.append(kind(place.line, place.column))
        self._keys.append(None)
        self._sizes.append(1)
        self._names.append(event.anchor)

    def _end(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        size, name = self._sizes.pop(), self._names.pop()
        if name is not None:
            self._anchors[name] = (node, size)
        self._put(node, size)

    def _alias(self, event: AliasEvent) -> None:
        name = str(event.anchor)
        if name in self._names:
            self._refuse("APPSPEC_ALIAS", event, f"alias {shown(name)} stands inside what it names")
        known = self._anchors.get(name)
        if known is None:
            self._refuse("APPSPEC_ALIAS", event, f"alias {shown(name)} names an anchor that does not exist")
        self._put(*known)

    def _put(self, node: Node, size: int) -> None:
        if not self._open:
            self._root = node
            return
        self._sizes[-1] += size
        if sum(self._sizes) > NODE_LIMIT:
            message = f"the file has more than {NODE_LIMIT} values, aliases counted as often as they are used"
            self._findings.error("APPSPEC_TOO_LARGE", Place(node.line, node.column), message)
            raise _Unreadable
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = node
        else:
            parent.pairs.append((key, node))
            self._keys[-1] = None

    def _check_tag(self, event: ScalarEvent | SequenceStartEvent | MappingStartEvent) -> None:
        if event.tag is not None and event.tag not in _KNOWN_TAGS:
            message = f"tag {shown(str(event.tag))} is not allowed; write plain values"
            self._findings.error("APPSPEC_TAG", _place(event), message)

    def _refuse(self, code: str, event: NodeEvent, message: str) -> NoReturn:
        self._findings.error(code, _place(event), message)
        raise _Unreadable


def _place(event: Event) -> Place:
    mark = event.start_mark
    return Place() if mark is None else Place(mark.line + 1, mark.column + 1)
