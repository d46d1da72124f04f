"""The chain of audit records on both databases: in order, in groups, and whatever somebody does to it is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ferryman_coordinator.core.audit import NOBODY, Call, Decision, Failure, Head, Place
from ferryman_coordinator.core.model import DeploymentId
from ferryman_coordinator.errors import RecordUnavailable, StoreUnavailable
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.observe.audit import LOST, AuditLog, read_anchor
from ferryman_coordinator.observe.audit_check import AuditCheck, verify
from ferryman_coordinator.operations.audit import AuditTrail
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.queries import audit as queries
from ferryman_coordinator.store.queries.audit import AuditFilter, StoredRecord
from ferryman_coordinator.store.store import Store
from tests.support.clock import ManualClock

KEY = b"k" * 32
PLACE = Place(account_id="000000000000", region="local")
DAY = 86_400_000


@dataclass
class Office:
    """An audit log that runs."""

    store: Store
    directory: Path
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.log = AuditLog(self.store, self.clock, Ids(), PLACE, KEY, self.directory / "anchor")
        self.trail = AuditTrail(self.store, self.clock, self.log, KEY, 30 * DAY)
        self._task = asyncio.create_task(self.log.run())

    async def end(self) -> None:
        self.log.stop()
        await self._task
        await self.log.close()

    def call(self, event: str = "GetApplication", **fields: object) -> Call:
        made: dict[str, object] = {
            "at": self.clock.now(),
            "event_id": Ids().guid(),
            "request_id": "r",
            "event": event,
            "actor": NOBODY,
            "source": "127.0.0.1",
            "user_agent": "test",
            "parameters": {"name": "web"},
        }
        return Call(**(made | fields))  # type: ignore[arg-type]  # as the test says

    async def check(self) -> AuditCheck:
        await self.log.flush()
        return await verify(self.store, KEY, read_anchor(self.directory / "anchor"))

    async def records(self) -> Sequence[StoredRecord]:
        await self.log.flush()
        async with self.store.reading() as connection:
            return await queries.records_after(connection, 0, 100_000)

    async def tamper(self, batch: Batch) -> None:
        """As somebody would who has the database."""
        await self.store.write(batch)


@pytest.fixture
async def office(store: Store, tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(store, tmp_path)
    yield office
    await office.end()


@pytest.mark.req("CP-449", "PF-267")
async def test_records_are_chained_in_the_order_in_which_they_came(office: Office) -> None:
    for number in range(50):
        office.log.note(office.call(f"Event{number}"))
    await office.log.keep(office.call("Last"))
    found = await office.records()
    assert [one.event_name for one in found] == [*(f"Event{number}" for number in range(50)), "Last"]
    assert [one.link.sequence for one in found] == list(range(1, 52))
    check = await office.check()
    assert (check.problem, check.records, check.last) == ("", 51, office.log.head)


async def test_whoever_waits_finds_the_record_stored(office: Office) -> None:
    await asyncio.gather(*(office.log.keep(office.call(f"Event{number}")) for number in range(200)))
    async with office.store.reading() as connection:
        assert len(await queries.records_after(connection, 0, 1000)) == 200
    # Many at once are few transactions.
    assert office.store.statistics.groups < 50


async def test_what_failed_is_stored_before_anybody_hears_of_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = office.call("CreateApplication", failure=Failure(code="X", message="no"))
    await office.log.settle(failed)
    async with office.store.reading() as connection:
        assert [one.event_name for one in await queries.records_after(connection, 0, 9)] == [
            "CreateApplication"
        ]
    write = office.store.write

    async def cannot(_batch: Batch) -> None:
        raise StoreUnavailable("no space left")

    monkeypatch.setattr(office.store, "write", cannot)
    # The caller hears why its call failed, and not that the database cannot be written.
    await office.log.settle(failed)
    assert office.log.waiting_records == 1
    monkeypatch.setattr(office.store, "write", write)
    assert len(await office.records()) == 2


async def test_a_new_process_goes_on_with_the_chain(office: Office) -> None:
    await office.log.keep(office.call("First"))
    await office.end()
    office.begin()
    await office.log.keep(office.call("Second"))
    assert [one.link.sequence for one in await office.records()] == [1, 2]
    assert (await office.check()).is_intact


@pytest.mark.parametrize(
    "column, value",
    [
        ("body", "{}"),
        ("hash", "0" * 64),
        ("user_name", "mallory"),
        ("event_name", "Harmless"),
        ("outcome", ""),
        ("at", 5),
    ],
)
@pytest.mark.req("CP-449")
async def test_any_changed_column_is_found(office: Office, column: str, value: object) -> None:
    failure = Failure(code="AccessDeniedException", message="no", is_denied=True)
    for number in range(5):
        office.log.note(office.call(f"Event{number}", failure=failure))
    await office.log.flush()
    batch = Batch()
    batch.update(tables.audit_records, {"sequence": 3}, {column: value})
    await office.tamper(batch)
    check = await office.check()
    assert check.broken in ((3, 4) if column == "hash" else (3,)), check


@pytest.mark.req("CP-449")
@pytest.mark.parametrize("gone", [1, 3, 5])
async def test_a_missing_record_is_found(office: Office, gone: int) -> None:
    for number in range(5):
        office.log.note(office.call(f"Event{number}"))
    await office.end()
    batch = Batch()
    batch.delete(tables.audit_records, {"sequence": gone})
    await office.tamper(batch)
    check = await verify(office.store, KEY, read_anchor(office.directory / "anchor"))
    assert not check.is_intact
    # What is missing is told by what follows it; of the end, by itself.
    assert check.broken == (gone if gone == 5 else gone + 1)
    assert "missing" in check.problem
    office.begin()


async def test_a_chain_that_was_written_anew_does_not_fit_its_checkpoints(
    store: Store, tmp_path: Path
) -> None:
    first = Office(store, tmp_path)
    await first.log.keep(first.call("Deed"))
    await first.end()
    batch = Batch()
    batch.delete(tables.audit_records, {})
    batch.delete(tables.audit_checkpoints, {})
    await store.write(batch)
    (tmp_path / "anchor").rename(tmp_path / "true-anchor")
    forger = Office(store, tmp_path)
    await forger.log.keep(forger.call("Harmless"))
    await forger.end()
    # In itself it is whole; but not to whoever has the key, or remembers the end.
    assert (await verify(store, KEY)).is_intact
    assert "written anew" in (await verify(store, b"x" * 32)).problem
    remembered = read_anchor(tmp_path / "true-anchor")
    assert "written anew" in (await verify(store, KEY, remembered)).problem


async def test_old_records_go_up_to_a_checkpoint_and_the_rest_stays_verifiable(office: Office) -> None:
    for _ in range(3):
        office.log.note(office.call("Old"))
    await office.log.flush()
    await office.end()
    office.clock.advance(20 * DAY)
    office.begin()
    await office.log.keep(office.call("Middle"))
    assert await office.trail.prune() == 0
    office.clock.advance(15 * DAY)
    assert await office.trail.prune() == 3
    await office.log.keep(office.call("New"))
    assert [one.event_name for one in await office.records()] == ["Middle", "New"]
    check = await office.check()
    assert (check.problem, check.first, check.records) == ("", 4, 2)
    batch = Batch()
    batch.delete(tables.audit_records, {"sequence": 4})
    await office.tamper(batch)
    check = await office.check()
    assert (check.is_intact, check.broken) == (False, 5)


async def test_when_all_is_pruned_the_chain_goes_on(office: Office) -> None:
    await office.log.keep(office.call("Old"))
    await office.end()
    office.clock.advance(40 * DAY)
    office.begin()
    assert await office.trail.prune() == 1
    assert (await office.check()).is_intact
    await office.log.keep(office.call("New"))
    (record,) = await office.records()
    assert record.link.sequence == 2
    assert (await office.check()).is_intact


@pytest.mark.req("CP-448")
async def test_decisions_are_recorded_with_creator_and_cause(office: Office) -> None:
    office.log.decision(
        Decision(
            event="CreateRollbackDeployment",
            deployment_id=DeploymentId("d-ABCDEFGHI"),
            creator="codeDeployRollback",
            cause="too many failed",
        )
    )
    page = await office.trail.list(AuditFilter(user_name="d-ABCDEFGHI"), PageRequest())
    (record,) = page.items
    assert '"cause":"too many failed"' in record.link.body
    assert '"creator":"codeDeployRollback"' in record.link.body
    assert '"eventType":"AwsServiceEvent"' in record.link.body


async def test_what_cannot_be_stored_is_stored_later_and_what_is_lost_is_counted(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, write = True, office.store.write

    async def failing(batch: Batch) -> None:
        if broken:
            raise StoreUnavailable("no space left")
        await write(batch)

    monkeypatch.setattr(office.store, "write", failing)
    monkeypatch.setattr("ferryman_coordinator.observe.audit._AGAIN_S", 0.01)
    monkeypatch.setattr("ferryman_coordinator.observe.audit._MOST_WAITING", 5)
    with pytest.raises(RecordUnavailable, match="cannot be stored now"):
        await office.log.keep(office.call("Change"))
    for number in range(7):
        office.log.note(office.call(f"Read{number}"))
    assert office.log.lost_records >= 3
    broken = False
    await office.log.flush()
    # The writer was in its pause before it tries again, or had just begun.
    await office.log.keep(office.call("After"))
    found = await office.records()
    names = [one.event_name for one in found]
    assert names[:5] == ["Change", "Read0", "Read1", "Read2", "Read3"]
    assert LOST in names
    assert (await office.check()).is_intact


async def test_a_record_whose_commit_was_lost_sight_of_is_not_stored_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, is_first = office.store.write, True

    async def blind(batch: Batch) -> None:
        nonlocal is_first
        await write(batch)
        if is_first:
            is_first = False
            raise StoreUnavailable("connection lost over the commit")

    monkeypatch.setattr(office.store, "write", blind)
    await office.log.keep(office.call("Once"))
    await office.log.keep(office.call("Then"))
    assert [one.event_name for one in await office.records()] == ["Once", "Then"]
    assert (await office.check()).is_intact


async def test_an_empty_log_is_whole(office: Office) -> None:
    check = await office.check()
    assert (check.is_intact, check.records, check.last) == (True, 0, Head(0, "0" * 64))
