"""The SELinux rules of one install: made with the new files, taken away with the old ones (AG-337, AG-363, V2-221)."""

from __future__ import annotations

from collections.abc import Mapping

from ferryman_agent.core.contexts import Rule, RulePlan, SelinuxHost, plan_rules
from ferryman_agent.errors import InstallError
from ferryman_agent.files.cleanup import Journal, JournalWriter, rule_line, rules_of
from ferryman_agent.files.digests import to_text
from ferryman_agent.files.selinux import change_rules, local_rules, restore_labels
from ferryman_agent.files.undo import Ruled, UndoLog


class RuleBook:
    """Asks the tool only where there is something to do."""

    def __init__(self, host: SelinuxHost | None, labels: Mapping[str, str], journal: Journal) -> None:
        """`labels` are the ones wanted, by real path. Raises InstallError when the tool does not answer."""
        self._semanage = host.semanage if host is not None else ""
        self._restorecon = host.restorecon if host is not None else ""
        self._ours = rules_of(journal)
        self._plan = RulePlan()
        self._is_asked = bool(labels or self._ours) and bool(self._semanage)
        if self._is_asked:
            self._plan = plan_rules(labels, self._ours, local_rules(self._semanage))

    def make(self, writer: JournalWriter, undo: UndoLog) -> None:
        """Makes the new rules, each written down before. Raises InstallError, OSError."""
        if not self._plan.changes:
            return
        before = {to_text(one.path): one.undo for one in self._plan.changes}
        undo.add([Ruled(self._semanage, before)])
        writer.add_rules(rule for rule in self._plan.rules if rule.path not in self._ours)
        change_rules(self._semanage, self._plan.changes)

    def remove_obsolete(self) -> list[str]:
        """Takes away what the group does not want any more; returns a sentence for what failed (V2-185, V2-223)."""
        if not self._is_asked:
            return []
        try:
            change_rules(self._semanage, self._plan.obsolete)
            restore_labels(self._restorecon, (change.path for change in self._plan.obsolete))
        except InstallError as problem:
            return [problem.message]
        return []

    def lines(self, *, all_gone: bool) -> tuple[bytes, ...]:
        """Returns the lines of the next journal; with what could not be removed, unless `all_gone`."""
        if not self._is_asked:
            # Without the tool, nothing is known to be gone.
            return tuple(rule_line(rule) for rule in self._ours.values())
        kept: dict[str, Rule] = {} if all_gone else dict(self._ours)
        kept |= {rule.path: rule for rule in self._plan.rules}
        return tuple(rule_line(rule) for rule in kept.values())
