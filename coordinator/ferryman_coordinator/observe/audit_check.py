"""Recounts the audit log from the oldest record that is kept to its end, and says where it first does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ferryman_coordinator.core.audit import (
    BEGINNING,
    Checkpoint,
    Head,
    Link,
    is_beginning,
    is_genuine,
    problem_of,
    utc,
)
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.observe.audit_file import AuditLine
from ferryman_coordinator.store.queries import audit as queries
from ferryman_coordinator.store.queries.audit import StoredRecord
from ferryman_coordinator.store.store import Store

_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """`problem` is empty when all fits; `broken` is the sequence of the first record that does not."""

    records: int
    first: int
    last: Head
    broken: int = 0
    problem: str = ""

    @property
    def is_intact(self) -> bool:
        return not self.problem


class _Broken(Exception):
    def __init__(self, sequence: int, problem: str) -> None:
        super().__init__(problem)
        self.sequence = sequence
        self.problem = problem


async def verify(store: Store, key: bytes, anchor: Head | None = None) -> AuditCheck:
    """`key`: what checkpoints are sealed with; `anchor`: a record that was there, as is known from elsewhere.

    Raises StoreUnavailable.
    """
    async with store.reading() as connection:
        first = await queries.first_sequence(connection)
        made = {one.sequence: one for one in await queries.checkpoints(connection)}
    head, records = BEGINNING, 0
    try:
        head = _anchor(first, made, key)
        while True:
            async with store.reading() as connection:
                page = await queries.records_after(connection, head.sequence, _AT_ONCE)
            for record in page:
                _check(record, head, made, key)
                _check_anchor(record, anchor)
                head = Head(record.link.sequence, record.link.hash)
                records += 1
            if len(page) < _AT_ONCE:
                break
        _check_end(head, made, anchor)
    except _Broken as broken:
        return AuditCheck(
            records=records, first=first or 0, last=head, broken=broken.sequence, problem=broken.problem
        )
    return AuditCheck(records=records, first=first or 0, last=head)


def verify_file(path: Path) -> AuditCheck:
    """Recounts a file of JSON lines by itself: whether it is one unbroken piece of a chain. Raises SetupError."""
    head: Head | None = None
    first = records = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    read = msgspec.json.decode(line, type=AuditLine)
                except (msgspec.DecodeError, msgspec.ValidationError):
                    after = head or BEGINNING
                    return AuditCheck(
                        records=records,
                        first=first,
                        last=after,
                        broken=after.sequence + 1,
                        problem=f"line {number} of {path} is no record",
                    )
                link = Link(read.sequence, bytes(read.record).decode(), read.hash)
                if head is None:
                    # What a later file begins with follows the end of the one before, which is not here.
                    first = link.sequence
                elif problem := problem_of(link, head):
                    return AuditCheck(
                        records=records, first=first, last=head, broken=link.sequence, problem=problem
                    )
                head = Head(link.sequence, link.hash)
                records += 1
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}") from error
    return AuditCheck(records=records, first=first, last=head or BEGINNING)


def _anchor(first: int | None, made: Mapping[int, Checkpoint], key: bytes) -> Head:
    """What the oldest record follows: nothing, or the checkpoint that older ones were deleted up to."""
    if first is None:
        # Nothing is kept, or nothing was ever written.
        newest = max(made, default=0)
        return Head(newest, made[newest].hash) if newest else BEGINNING
    if first == 1:
        return BEGINNING
    checkpoint = made.get(first - 1)
    if checkpoint is None or not is_beginning(key, checkpoint):
        raise _Broken(
            first,
            "the records before it are missing, and nobody who may said that they were pruned up to there",
        )
    return Head(checkpoint.sequence, checkpoint.hash)


def _check(record: StoredRecord, before: Head, made: Mapping[int, Checkpoint], key: bytes) -> None:
    sequence = record.link.sequence
    if problem := problem_of(record.link, before) or _misfiled(record):
        raise _Broken(sequence, problem)
    checkpoint = made.get(sequence)
    if checkpoint is not None and (checkpoint.hash != record.link.hash or not is_genuine(key, checkpoint)):
        raise _Broken(
            sequence,
            "the checkpoint here says something else: the records up to it were written anew, or it was",
        )


def _check_anchor(record: StoredRecord, anchor: Head | None) -> None:
    if anchor is not None and anchor == Head(record.link.sequence, record.link.hash):
        return
    if anchor is not None and anchor.sequence == record.link.sequence:
        raise _Broken(anchor.sequence, "it is not what the data directory remembers: it was written anew")


def _check_end(head: Head, made: Mapping[int, Checkpoint], anchor: Head | None) -> None:
    newest = max(made, default=0)
    if newest > head.sequence:
        at = utc(made[newest].at)
        raise _Broken(
            head.sequence + 1, f"it is missing, with all up to {newest}: a checkpoint was made there at {at}"
        )
    if anchor is not None and anchor.sequence > head.sequence:
        raise _Broken(
            head.sequence + 1,
            f"it is missing, with all up to {anchor.sequence}, which the data directory remembers",
        )


def _misfiled(record: StoredRecord) -> str:
    """What lists filter by must be what the record says."""
    try:
        document: dict[str, Any] = msgspec.json.decode(record.link.body)
        code = document.get("errorCode", "")
        outcome = (queries.DENIED if document.get("denied") else "") + code
        expected = (
            document["eventName"],
            document["userIdentity"]["userName"],
            document["eventTime"],
            outcome,
        )
    except (msgspec.DecodeError, KeyError, TypeError):
        return "its text is no record"
    found = (record.event_name, record.user_name, utc(record.at), record.outcome)
    return "" if found == expected else "its columns do not say what its text says"
