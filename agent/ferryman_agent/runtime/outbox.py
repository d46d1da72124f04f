"""Reports that the coordinator has not acknowledged yet, in the order of their numbers; on disk in the journal."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from ferryman_agent.core.facts import Fact
from ferryman_agent.core.messages import CommandId, Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A fact about a command on its way to the coordinator. `at` is this machine's time, for display only."""

    number: int
    command_id: CommandId
    at: Instant
    fact: Fact


class Outbox:
    """Numbers rise by one with each report of this agent, over restarts too."""

    def __init__(self) -> None:
        self.last_number = 0
        self.acknowledged = 0
        self._waiting: OrderedDict[int, Report] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, report: Report) -> None:
        """Takes a report in; its number is greater than every one before."""
        if report.number <= self.last_number:
            raise ValueError(f"report {report.number} after {self.last_number}")
        self.last_number = report.number
        self._waiting[report.number] = report

    def acknowledge(self, number: int) -> bool:
        """Lets go of every report up to `number`; returns whether there was any."""
        before = len(self._waiting)
        while self._waiting and next(iter(self._waiting)) <= number:
            self._waiting.popitem(last=False)
        self.acknowledged = max(self.acknowledged, min(number, self.last_number))
        return len(self._waiting) < before

    def start_from(self, number: int) -> None:
        """Numbers up to here are given away and acknowledged."""
        self.last_number = self.acknowledged = number

    def renumber(self, first: int) -> dict[int, int]:
        """Gives the waiting reports new numbers from `first`, in the same order; returns them by the old ones."""
        numbers = {old: first + offset for offset, old in enumerate(self._waiting)}
        self._waiting = OrderedDict(
            (numbers[old], replace(report, number=numbers[old])) for old, report in self._waiting.items()
        )
        self.last_number = first + len(numbers) - 1
        self.acknowledged = first - 1
        return numbers

    def after(self, number: int, limit: int) -> list[Report]:
        """Returns at most `limit` waiting reports with greater numbers, in order."""
        # Numbers have gaps only where reports were acknowledged, and those are at the front.
        if not self._waiting:
            return []
        start = max(number + 1, next(iter(self._waiting)))
        found = (self._waiting.get(candidate) for candidate in range(start, self.last_number + 1))
        reports: list[Report] = []
        for report in found:
            if len(reports) == limit:
                break
            if report is not None:
                reports.append(report)
        return reports

    def is_waiting(self, command_id: CommandId) -> bool:
        """Whether any report of the command waits."""
        return any(report.command_id == command_id for report in self._waiting.values())
