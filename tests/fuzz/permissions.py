"""The little languages of `permissions`: patterns, ACL entries, SELinux ranges, modes.

An input is lines: pattern, name, ACL entry, range, mode; the text of each goes to its reader, and all of them together
into an AppSpec file.
"""

from __future__ import annotations

import json
import re

from ferryman.appspec.access import AccessError, parse_ace, parse_range
from ferryman.appspec.matching import matches
from ferryman_agent.core.acl import complete_acl
from tests.fuzz import appspec

_FIELDS = 5
_LONGEST_TO_COMPARE = 30


def examine(source: bytes) -> None:
    """What holds for every input."""
    lines = source.decode(errors="replace").split("\n", _FIELDS - 1)
    pattern, name, ace, span, mode = [*lines, "", "", "", "", ""][:_FIELDS]
    _examine_pattern(pattern, name)
    _examine_ace(ace)
    _examine_range(span)
    entry: dict[str, object] = {"object": name, "pattern": pattern, "except": [pattern], "acls": [ace]}
    entry |= {"mode": mode, "context": {"type": "t", "range": span}}
    document = {"version": 0.0, "os": "linux", "files": [{"source": "d", "destination": "/d"}]}
    # JSON is YAML, whatever is in the texts.
    appspec.examine(json.dumps(document | {"permissions": [entry]}).encode())


def _examine_pattern(pattern: str, name: str) -> None:
    found = matches(pattern, name)
    if len(pattern) <= _LONGEST_TO_COMPARE and len(name) <= _LONGEST_TO_COMPARE:
        # What `*` means, said another way; that way takes exponential time for long ones.
        runs = ".*".join(re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*"))
        assert found == (re.fullmatch(runs, name, re.DOTALL) is not None)
    assert matches("*", name)
    assert matches(f"{name}*" if "*" not in name else "*", name)


def _examine_ace(text: str) -> None:
    try:
        entry = parse_ace(text)
    except AccessError:
        return
    assert 0 <= entry.permissions <= 7
    head = "default:" if entry.is_default else ""
    assert parse_ace(f"{head}{entry.tag}:{entry.name}:{entry.permissions}") == entry
    known = {entry.name: 1000}
    acl = complete_acl([entry], 0o640, known, known)
    for rules in (acl.access, acl.default):
        assert len({(rule.tag, rule.ident) for rule in rules}) == len(rules)
        if any(rule.ident is not None for rule in rules):
            assert any(rule.tag == "mask" for rule in rules)


def _examine_range(text: str) -> None:
    try:
        canonical = parse_range(text)
    except AccessError:
        return
    assert parse_range(canonical) == canonical
