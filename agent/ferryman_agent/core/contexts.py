"""SELinux: labels of objects, and the file-context rules that make them last (AG-363 … AG-365, V2-221)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ferryman.appspec import SelinuxContext

UNCONFINED = frozenset({"unconfined_t", "kernel_t", "init_t"})
_USER, _ROLE, _RANGE = "system_u", "object_r", "s0"


class SelinuxHost(NamedTuple):
    """A host with SELinux. `has_mls`: its labels have a range; the tools: where they are, "" where they are not."""

    has_mls: bool = True
    semanage: str = ""
    restorecon: str = ""


class Rule(NamedTuple):
    """A rule that the group has made. `previous` is the label of the one that was there before, "" for none."""

    path: str
    previous: str = ""


class RuleChange(NamedTuple):
    """One call of the tool: `action` is add, modify or delete; `label` is that of the rule afterwards."""

    action: str
    path: str
    label: str = ""
    undo: str = ""


class RulePlan(NamedTuple):
    """What to change before the new files count, what after, and the rules that are the group's then."""

    changes: tuple[RuleChange, ...] = ()
    obsolete: tuple[RuleChange, ...] = ()
    rules: tuple[Rule, ...] = ()


def label_of(context: SelinuxContext, host: SelinuxHost) -> str:
    """Returns the whole label; a missing range is `s0` (AG-363), and there is none without MLS."""
    label = f"{context.user or _USER}:{_ROLE}:{context.type}"
    return f"{label}:{context.range or _RANGE}" if host.has_mls else label


def plan_rules(wanted: Mapping[str, str], ours: Mapping[str, Rule], local: Mapping[str, str]) -> RulePlan:
    """Returns how to get from the `local` rules of the host to the `wanted` labels, both by path.

    A rule of somebody else that says the same already stays theirs; one that says something else is replaced, and comes
    back when the group does not want its own any more (AG-365).
    """
    changes, rules = [], []
    for path, label in wanted.items():
        there = local.get(path, "")
        if there != label:
            action = "modify" if there else "add"
            changes.append(RuleChange(action, path, label, undo=there))
            rules.append(ours.get(path) or Rule(path, there))
        elif path in ours:
            rules.append(ours[path])
    obsolete = []
    for path, rule in ours.items():
        if path in wanted or path not in local:
            continue
        if rule.previous:
            obsolete.append(RuleChange("modify", path, rule.previous))
        else:
            obsolete.append(RuleChange("delete", path))
    return RulePlan(tuple(changes), tuple(obsolete), tuple(rules))
