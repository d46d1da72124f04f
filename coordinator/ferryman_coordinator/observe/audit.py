"""Writes the audit log: whatever is noted becomes the next record of the chain, in the order in which it came.

A background task stores what is waiting, many records at once. A call that has changed something waits for its record
before it is answered; reads do not wait, and while the database cannot be written the newest of them may be given up:
how many is a record of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core.audit import (
    BEGINNING,
    Actor,
    ActorKind,
    Call,
    Decision,
    Head,
    Link,
    Place,
    append,
    call_document,
    decision_document,
    seal,
)
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import ConstraintBroken, RecordUnavailable, SetupError, StoreUnavailable
from ferryman_coordinator.keyfiles import SECRET, read_file, write_file
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.queries import audit as queries
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

LOST = "AuditRecordsLost"

_AT_ONCE = 250
"""Few enough that agents do not notice the turn of the loop that it takes to chain them."""
_FLUSH_S = 0.2
"""Records that nobody waits for are gathered for so long."""
_MOST_WAITING = 20_000
_AGAIN_S = 1.0
_CHECKPOINT_EVERY = 1_000
_CHECKPOINT_MS = 3_600_000

_encode = msgspec.json.encode


class DrawsEventIds(Protocol):
    def guid(self) -> str: ...


@dataclass(slots=True)
class _Noted:
    at: Instant
    document: Mapping[str, Any]
    outcome: str = ""
    # Whoever waits until it is stored.
    stored: asyncio.Future[None] | None = None


class AuditLog:
    """`open`, then `run` as a task; `close` stores what is left."""

    def __init__(
        self, store: Store, clock: Clock, ids: DrawsEventIds, place: Place, key: bytes, anchor: Path
    ) -> None:
        """`key` seals checkpoints; the file `anchor` says where the newest one is, outside of the database."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._place = place
        self._key = key
        self._anchor = anchor
        self._waiting: deque[_Noted] = deque()
        self._wake = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._head: Head | None = None
        self._checkpoint: tuple[int, Instant] = (0, Instant(0))
        self._lost = 0
        self._is_ending = False
        self._is_storing = False
        self._flushing: list[asyncio.Future[None]] = []
        self._on_stored: Callable[[], None] = _nothing
        self.stored_records = 0

    @property
    def head(self) -> Head:
        """Where the chain ends, as far as this process knows."""
        return self._head or BEGINNING

    @property
    def waiting_records(self) -> int:
        """Noted and not yet stored."""
        return len(self._waiting)

    @property
    def lost_records(self) -> int:
        """Given up and not yet told in a record."""
        return self._lost

    def when_stored(self, call: Callable[[], None]) -> None:
        """`call` after each group of records that was stored."""
        self._on_stored = call

    # What is written down ---------------------------------------------------------------------------------------------

    def note(self, call: Call) -> None:
        """Queue the record of a call that changed nothing; any door may."""
        self._put(_Noted(call.at, call_document(call, self._place), _outcome(call)))

    async def keep(self, call: Call) -> None:
        """The same for one that changed something: returns once it is stored.

        Raises StoreUnavailable when it could not be stored now; it will be, as soon as that is possible.
        """
        noted = _Noted(call.at, call_document(call, self._place))
        noted.stored = asyncio.get_running_loop().create_future()
        self._waiting.append(noted)
        self._wake.set()
        self._is_urgent.set()
        await asyncio.shield(noted.stored)

    async def settle(self, call: Call) -> None:
        """The same for one that was to change something and failed: returns once it is stored, or cannot be now.

        Unlike what was changed, it may be given up.
        """
        noted = _Noted(call.at, call_document(call, self._place), _outcome(call))
        noted.stored = asyncio.get_running_loop().create_future()
        if self._put(noted):
            self._is_urgent.set()
            with contextlib.suppress(StoreUnavailable):
                await asyncio.shield(noted.stored)

    async def flush(self) -> None:
        """Returns once what was noted before is stored, or cannot be now: for whoever reads what was just done."""
        if not self._waiting and not self._is_storing:
            return
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushing.append(flushed)
        self._wake.set()
        self._is_urgent.set()
        await flushed

    def decision(self, decision: Decision) -> None:
        """Queue what the coordinator has decided; see `engine.surroundings.Witness`."""
        now = self._clock.now()
        self._put(
            _Noted(now, decision_document(decision, now, self._ids.guid(), self._place)), is_needed=True
        )

    # The writer -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Store what is noted, until `stop`. Not to be cancelled: a group that is being stored would be lost."""
        while not self._is_ending:
            await self._wake.wait()
            # Several come at about the same time; one who waits for his is not kept waiting by that.
            try:
                async with asyncio.timeout(_FLUSH_S):
                    await self._is_urgent.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self._is_urgent.clear()
            if not await self._store_waiting():
                self._wake.set()
                await asyncio.sleep(_AGAIN_S)

    def stop(self) -> None:
        """Lets `run` come to its end."""
        self._is_ending = True
        self._wake.set()
        self._is_urgent.set()

    async def close(self) -> None:
        """Once `run` has ended: store what is left, and where the chain ends. Whatever the store says."""
        if await self._store_waiting():
            await self._store_checkpoint()

    async def _store_waiting(self) -> bool:
        """False when the store could not be written."""
        self._is_storing = True
        try:
            return await self._store_all()
        finally:
            self._is_storing = False
            flushing, self._flushing = self._flushing, []
            for flushed in flushing:
                if not flushed.done():
                    flushed.set_result(None)

    async def _store_all(self) -> bool:
        while self._waiting or self._lost:
            group = self._next_group()
            try:
                await self._store_group(group)
            except (StoreUnavailable, ConstraintBroken) as error:
                log.warning("audit.not_stored", records=len(group), error=str(error))
                self._give_back(group)
                return False
            for noted in group:
                if noted.stored is not None and not noted.stored.done():
                    noted.stored.set_result(None)
        return True

    def _next_group(self) -> Sequence[_Noted]:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
        if self._lost:
            group.append(self._loss(self._lost))
            self._lost = 0
        return group

    async def _store_group(self, group: Sequence[_Noted]) -> None:
        """The whole group, in one transaction. Where the chain ends is read again after a failure: it may be stored."""
        if self._head is None:
            async with self._store.reading() as connection:
                self._head = await queries.head(connection)
                last = await queries.last_checkpoint(connection)
            self._checkpoint = (0, Instant(0)) if last is None else (last.sequence, last.at)
        head, links = self._head, []
        for noted in group:
            link = append(head, _encode(noted.document).decode())
            head = Head(link.sequence, link.hash)
            links.append(link)
        batch = Batch()
        for noted, link in zip(group, links, strict=True):
            batch.insert(tables.audit_records, _row(noted, link))
        is_due = self._is_checkpoint_due(head)
        if is_due:
            self._enter_checkpoint(batch, head)
        try:
            await self._store.write(batch)
        except (StoreUnavailable, ConstraintBroken):
            self._head = None
            if not await self._was_stored(head):
                raise
        self._head = head
        self.stored_records += len(group)
        if is_due:
            await self._checkpoint_made(head)
        self._on_stored()

    async def _was_stored(self, head: Head) -> bool:
        try:
            async with self._store.reading() as connection:
                return await queries.head(connection) == head
        except StoreUnavailable:
            return False

    def _is_checkpoint_due(self, head: Head) -> bool:
        sequence, at = self._checkpoint
        if head.sequence - sequence >= _CHECKPOINT_EVERY:
            return True
        return head.sequence > sequence and self._clock.now() - at >= _CHECKPOINT_MS

    def _enter_checkpoint(self, batch: Batch, head: Head) -> None:
        checkpoint = seal(self._key, head, self._clock.now())
        row = {
            "sequence": checkpoint.sequence,
            "at": checkpoint.at,
            "hash": checkpoint.hash,
            "seal": checkpoint.seal,
        }
        batch.put(tables.audit_checkpoints, row)

    async def _store_checkpoint(self) -> None:
        head = self._head
        if head is None or head.sequence <= self._checkpoint[0]:
            return
        batch = Batch()
        self._enter_checkpoint(batch, head)
        try:
            await self._store.write(batch)
        except StoreUnavailable as error:
            log.warning("audit.no_checkpoint", error=str(error))
            return
        await self._checkpoint_made(head)

    async def _checkpoint_made(self, head: Head) -> None:
        self._checkpoint = (head.sequence, self._clock.now())
        try:
            await asyncio.to_thread(write_anchor, self._anchor, head)
        except SetupError as error:
            log.warning("audit.anchor_not_written", error=str(error))

    # Waiting records --------------------------------------------------------------------------------------------------

    def _put(self, noted: _Noted, *, is_needed: bool = False) -> bool:
        """Whether there is room for it."""
        if len(self._waiting) >= _MOST_WAITING and not is_needed:
            self._lost += 1
            return False
        self._waiting.append(noted)
        if len(self._waiting) >= _AT_ONCE:
            self._is_urgent.set()
        self._wake.set()
        return True

    def _give_back(self, group: Sequence[_Noted]) -> None:
        """They keep their place; whoever waits hears that it takes longer."""
        self._waiting.extendleft(reversed(group))
        for noted in group:
            if noted.stored is not None and not noted.stored.done():
                noted.stored.set_exception(
                    RecordUnavailable("the audit record of this call cannot be stored now")
                )
                # Its caller may be gone.
                noted.stored.exception()
            noted.stored = None

    def _loss(self, count: int) -> _Noted:
        now = self._clock.now()
        call = Call(
            at=now,
            event_id=self._ids.guid(),
            request_id="",
            event=LOST,
            actor=Actor(kind=ActorKind.UNKNOWN, name="ferryman"),
            source="ferryman",
            user_agent="ferryman",
            parameters={"records": count},
            is_read=True,
        )
        return _Noted(now, call_document(call, self._place))


def write_anchor(path: Path, head: Head) -> None:
    """Raises SetupError."""
    write_file(path, _encode({"sequence": head.sequence, "hash": head.hash}), SECRET)


def read_anchor(path: Path) -> Head | None:
    """None when there is none. Raises SetupError."""
    content = read_file(path)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Head)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SetupError(f"{path} is damaged: restore it from a backup, or remove it") from error


def _nothing() -> None:
    """Until somebody wants to hear."""


def _outcome(call: Call) -> str:
    if call.failure is None:
        return ""
    return (queries.DENIED if call.failure.is_denied else "") + call.failure.code


def _row(noted: _Noted, link: Link) -> dict[str, Any]:
    return {
        "sequence": link.sequence,
        "at": noted.at,
        "user_name": noted.document["userIdentity"]["userName"],
        "event_name": noted.document["eventName"],
        "outcome": noted.outcome,
        "body": link.body,
        "hash": link.hash,
    }
