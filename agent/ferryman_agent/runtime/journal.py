"""What this agent knows of its commands, on disk before anything is done or answered (D5).

One file holds commands, facts and reports, so that a fact and the report of it are one write. A command is kept until
the coordinator forgets its deployment, or until nothing can ask for it any more: then its id would start it anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ferryman_agent.clock import Clock
from ferryman_agent.core.facts import (
    REPORTED,
    DownloadProgress,
    EventFinished,
    Fact,
    ScriptStarted,
    SegmentFinished,
)
from ferryman_agent.core.messages import (
    CommandId,
    DeploymentDescription,
    DeploymentId,
    EventStatus,
    GroupId,
    Instant,
    Segment,
)
from ferryman_agent.errors import JournalError
from ferryman_agent.hooks.contract import ProcessMark
from ferryman_agent.runtime.journal_file import JournalFile
from ferryman_agent.runtime.outbox import Outbox, Report
from ferryman_agent.runtime.records import (
    Acknowledged,
    CancelledAhead,
    Dropped,
    Format,
    LastResult,
    Noted,
    Numbering,
    ProcessBegan,
    ProcessGone,
    Received,
    Record,
    RecordBroken,
    Renumbered,
    noted,
)

KEEP_FINISHED_MS = 8 * 24 * 3600 * 1000
"""Longer than the longest deployment, 109 hours (AG-Q10)."""
KEEP_FINISHED = 500


@dataclass(slots=True)
class Command:
    """A command that this agent has heard of. `segment` is None where only its cancellation, or its end, is known."""

    command_id: CommandId
    received_at: Instant
    segment: Segment | None
    is_announced: bool = False
    facts: list[tuple[int, Instant, Fact]] = field(default_factory=list)
    processes: list[ProcessMark] = field(default_factory=list)

    @property
    def deployment_id(self) -> str:
        """The deployment it is part of: the first part of its id."""
        return self.command_id.split("/", 1)[0]

    @property
    def end(self) -> SegmentFinished | None:
        """How it ended; None while it has not."""
        return next((fact for _, _, fact in self.facts if isinstance(fact, SegmentFinished)), None)

    @property
    def last_at(self) -> Instant:
        """When something of it was last written down."""
        return self.facts[-1][1] if self.facts else self.received_at

    @property
    def newest_report(self) -> int:
        """Number of its newest report, 0 for none."""
        return max((number for number, _, _ in self.facts), default=0)


class Journal:
    """Answers from memory, writes to its file. What cannot be written raises JournalError and changes nothing."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.outbox = Outbox()
        self.damage: list[str] = []
        self._file = JournalFile(path)
        self._clock = clock
        self._commands: dict[CommandId, Command] = {}
        self._results: dict[GroupId, LastResult] = {}

    @property
    def commands(self) -> Mapping[CommandId, Command]:
        """Every command that is known, in the order of their arrival."""
        return self._commands

    @property
    def results(self) -> Mapping[GroupId, LastResult]:
        """How the newest finished command of each deployment group ended."""
        return self._results

    def open(self) -> None:
        """Reads the file. `damage` then says what of it could not be read. Raises JournalError."""
        contents = self._file.open()
        for record in contents.records:
            try:
                self._apply(record)
            except (RecordBroken, ValueError) as error:
                self.damage.append(str(error))
        if contents.is_last_line_cut:
            self.damage.append("the last line was cut short: nothing had been done for it yet")
        if contents.broken:
            self.damage.append(f"{len(contents.broken)} broken lines were set aside")
        if self.damage or self._file.has_grown:
            # On a full disk it goes on as it is: a cut line is cut off already, others are set aside again.
            with contextlib.suppress(JournalError):
                self.compact()

    def receive(self, segment: Segment, *, is_announced: bool) -> Command:
        """Takes a new command in. `is_announced`: its acknowledgement says that it starts at once."""
        self._write(Received(at=self._clock.now(), segment=segment, is_announced=is_announced))
        return self._commands[segment.command_id]

    def cancel_ahead(self, command_id: CommandId) -> None:
        """Remembers that a command that never came is cancelled, and reports it as Skipped."""
        at, number = self._clock.now(), self.outbox.last_number + 1
        end = noted(at, command_id, number, SegmentFinished(status=EventStatus.SKIPPED))
        self._write(CancelledAhead(at=at, command_id=command_id), end)

    def note(self, command_id: CommandId, facts: Sequence[Fact]) -> None:
        """Writes facts down in one write and numbers those that are reported."""
        at, number = self._clock.now(), self.outbox.last_number
        records: list[Record] = []
        for fact in facts:
            is_reported = isinstance(fact, REPORTED)
            number += is_reported
            records.append(noted(at, command_id, number if is_reported else 0, fact))
        self._write(*records)

    def report_again(self, command: Command) -> None:
        """Reports once more how a finished command went, to a coordinator that no longer knows."""
        number, records = self.outbox.last_number, []
        for _, at, fact in command.facts:
            if isinstance(fact, EventFinished | SegmentFinished):
                number += 1
                records.append(noted(at, command.command_id, number, fact, is_report_only=True))
        self._write(*records)

    def process_began(self, command_id: CommandId, process: ProcessMark) -> None:
        """A script of the command runs as this process."""
        self._write(ProcessBegan(command_id=command_id, process=process))

    def process_gone(self, command_id: CommandId, process: ProcessMark) -> None:
        """Nothing of that process is left."""
        self._write(ProcessGone(command_id=command_id, process=process))

    def acknowledge(self, number: int) -> None:
        """The coordinator has stored every report up to `number`."""
        if self.outbox.acknowledge(number):
            # Losing this record costs a repetition, so a full disk is no reason to stop here.
            with contextlib.suppress(JournalError):
                self._file.append([Acknowledged(number=number)])

    def meet(self, acknowledged: int) -> None:
        """Compares notes with a coordinator that says what it has: forgets that, or numbers anew.

        A number that was never given away here comes from a history that this file does not have: the machine was set
        back, or its state lost. Reports under old numbers would be taken for repetitions.
        """
        if acknowledged > self.outbox.last_number:
            self._write(Renumbered(first=acknowledged + 1))
        else:
            self.acknowledge(acknowledged)

    def forget(self, deployment_id: DeploymentId) -> None:
        """Nothing will ask for this deployment again: drops its finished commands."""
        known = [command for command in self._commands.values() if command.deployment_id == deployment_id]
        ended = [Dropped(command_id=command.command_id) for command in known if command.end is not None]
        self._write(*ended)

    def drop(self, command_id: CommandId) -> None:
        """Nothing will come of this command any more, and nobody waits for it."""
        self._write(Dropped(command_id=command_id))

    def keep_facts(self, command_id: CommandId, count: int) -> None:
        """Keeps only the first `count` facts of a command whose others contradict them."""
        del self._commands[command_id].facts[count:]
        self.compact()

    async def sync(self) -> None:
        """Returns when everything written so far outlives a crash of the machine; needed before it is acted upon."""
        await self._file.sync()

    def compact(self) -> None:
        """Writes the file anew with what is still of use."""
        self._drop_old()
        self._file.rewrite(self._snapshot())

    def close(self) -> None:
        """Flushes and lets go of the file."""
        self._file.close()

    def _write(self, *records: Record) -> None:
        if not records:
            return
        self._file.append(records)
        for record in records:
            self._apply(record)
        if self._file.has_grown:
            # The records are safe in the file as it is; writing it anew can wait for the next time.
            with contextlib.suppress(JournalError):
                self.compact()

    def _apply(self, record: Record) -> None:
        match record:
            case Received(at=at, segment=segment, is_announced=is_announced):
                command = self._command(segment.command_id, at)
                command.segment, command.is_announced = segment, is_announced
            case CancelledAhead(at=at, command_id=command_id):
                self._command(command_id, at)
            case Noted():
                self._apply_noted(record)
            case ProcessBegan(command_id=command_id, process=process):
                if command_id in self._commands:
                    self._commands[command_id].processes.append(process)
            case ProcessGone(command_id=command_id, process=process):
                if command_id in self._commands and process in self._commands[command_id].processes:
                    self._commands[command_id].processes.remove(process)
            case Acknowledged(number=number):
                self.outbox.acknowledge(number)
            case Numbering(last=last):
                self.outbox.start_from(last)
            case Renumbered(first=first):
                self._renumber(first)
            case LastResult(group_id=group_id):
                self._results[group_id] = record
            case Dropped(command_id=command_id):
                self._commands.pop(command_id, None)
            case Format():
                pass

    def _command(self, command_id: CommandId, at: Instant) -> Command:
        return self._commands.setdefault(
            command_id, Command(command_id=command_id, received_at=at, segment=None)
        )

    def _apply_noted(self, record: Noted) -> None:
        fact = record.decoded()
        if record.number > self.outbox.last_number:
            report = Report(number=record.number, command_id=record.command_id, at=record.at, fact=fact)
            self.outbox.put(report)
        if record.is_report_only or isinstance(fact, DownloadProgress):
            return
        command = self._command(record.command_id, record.at)
        if isinstance(fact, SegmentFinished) and command.segment is not None:
            result = _result(command, command.segment.deployment, fact, record.at)
            newest = self._results.get(result.group_id)
            if newest is None or newest.at <= result.at:
                self._results[result.group_id] = result
        facts = command.facts
        if isinstance(fact, EventFinished):
            facts[:] = [kept for kept in facts if not isinstance(kept[2], ScriptStarted)]
        facts.append((record.number, record.at, fact))

    def _renumber(self, first: int) -> None:
        numbers = self.outbox.renumber(first)
        for command in self._commands.values():
            command.facts[:] = [(numbers.get(number, number), at, fact) for number, at, fact in command.facts]

    def _drop_old(self) -> None:
        """Finished commands of which nothing waits: those too old to be asked for, and the oldest of too many."""
        finished = [
            command
            for command in self._commands.values()
            if command.end is not None and command.newest_report <= self.outbox.acknowledged
        ]
        too_many = len(finished) - KEEP_FINISHED
        oldest = self._clock.now() - KEEP_FINISHED_MS
        for position, command in enumerate(finished):
            if position < too_many or command.last_at < oldest:
                del self._commands[command.command_id]

    def _snapshot(self) -> Iterator[Record]:
        yield Numbering(last=self.outbox.acknowledged)
        yield from self._results.values()
        kept: list[tuple[int, Noted]] = []
        for command in self._commands.values():
            yield _opening(command)
            number = 0
            for own, at, fact in command.facts:
                number = own or number
                kept.append((number, noted(at, command.command_id, own, fact)))
        in_commands = {record.number for _, record in kept}
        for report in self.outbox.after(self.outbox.acknowledged, len(self.outbox)):
            if report.number not in in_commands:
                record = noted(report.at, report.command_id, report.number, report.fact, is_report_only=True)
                kept.append((report.number, record))
        # Stable, so that each command's own order stays, and reports come in the order of their numbers.
        yield from (record for _, record in sorted(kept, key=lambda entry: entry[0]))
        for command in self._commands.values():
            for process in command.processes:
                yield ProcessBegan(command_id=command.command_id, process=process)


def _result(
    command: Command, deployment: DeploymentDescription, end: SegmentFinished, at: Instant
) -> LastResult:
    ended = [fact for _, _, fact in command.facts if isinstance(fact, EventFinished)]
    ran = [fact.lifecycle_event for fact in ended if fact.status is not EventStatus.SKIPPED]
    return LastResult(
        group_id=deployment.deployment_group_id,
        group_name=deployment.deployment_group_name,
        deployment_id=deployment.deployment_id,
        status=end.status,
        at=at,
        lifecycle_event=ran[-1] if ran else "",
    )


def _opening(command: Command) -> Record:
    if command.segment is None:
        return CancelledAhead(at=command.received_at, command_id=command.command_id)
    return Received(at=command.received_at, segment=command.segment, is_announced=command.is_announced)
