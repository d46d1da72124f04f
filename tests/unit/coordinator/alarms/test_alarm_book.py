"""Which source answers for a name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from ferryman_coordinator.alarms.book import AlarmBook
from ferryman_coordinator.alarms.source import Answer
from ferryman_coordinator.core.alarms import AlarmReading
from ferryman_coordinator.core.model import AlarmState
from ferryman_coordinator.errors import StoreUnavailable
from tests.support.alarm_sources import FakeSource

OK, ALARM = AlarmState.OK, AlarmState.ALARM


async def one(book: AlarmBook, name: str) -> AlarmReading:
    (reading,) = await book.read([name])
    return reading


@pytest.mark.req("CP-357")
async def test_a_plain_name_belongs_to_the_first_source_that_knows_it() -> None:
    first, second = FakeSource("first", cpu=OK), FakeSource("second", cpu=ALARM, disk=ALARM)
    book = AlarmBook([first, second])
    assert (await one(book, "cpu")).state is OK
    assert (await one(book, "disk")).source == "second (in this test)"
    # Once it is found only that one is asked.
    assert (await one(book, "cpu")).state is OK
    assert [len(first.asked), len(second.asked)] == [3, 2]


@pytest.mark.req("CP-357")
async def test_a_source_may_be_named() -> None:
    first, second = FakeSource("first", cpu=OK), FakeSource("second", cpu=ALARM)
    second.say("a/b", OK)
    book = AlarmBook([first, second])
    assert (await one(book, "second/cpu")).state is ALARM
    assert (await one(book, "second/cpu")).name == "second/cpu"
    assert (await one(book, "second/a/b")).state is OK
    assert (await one(book, "a/b")).state is OK
    assert (await one(book, "third/cpu")).state is None


@pytest.mark.req("CP-358")
async def test_what_nobody_knows_cannot_be_read() -> None:
    book = AlarmBook([FakeSource("first", cpu=OK), FakeSource("second")])
    reading = await one(book, "CPU")
    assert (reading.state, reading.source) == (None, "first (in this test) and second (in this test)")
    assert "no alarm of that name" in reading.detail
    assert "no source of alarms is configured" in (await one(AlarmBook([]), "cpu")).detail


async def test_what_moved_to_another_source_is_found_again() -> None:
    first, second = FakeSource("first", cpu=OK), FakeSource("second")
    book = AlarmBook([first, second])
    await one(book, "cpu")
    del first.answers["cpu"]
    second.say("cpu", ALARM)
    assert (await one(book, "cpu")).state is None
    assert (await one(book, "cpu")).state is ALARM


async def test_a_source_that_is_down_takes_only_its_own_alarms_along() -> None:
    first, second = FakeSource("first", cpu=OK), FakeSource("second", disk=OK)
    book = AlarmBook([first, second])
    await book.read(["cpu", "disk"])
    first.down = "refuses the connection"
    cpu, disk, new = await book.read(["cpu", "disk", "new"])
    assert (cpu.state, cpu.source, cpu.detail) == (None, "first (in this test)", "refuses the connection")
    assert disk.state is OK
    assert (new.state, new.source) == (None, "first (in this test)")


async def test_what_a_later_source_knows_is_read_while_an_earlier_one_is_down() -> None:
    first, second = FakeSource("first", cpu=ALARM), FakeSource("second", cpu=OK)
    book = AlarmBook([first, second])
    first.down = "refuses the connection"
    assert (await one(book, "cpu")).source == "second (in this test)"
    # The order counts again as soon as it can.
    first.down = ""
    assert (await one(book, "cpu")).state is ALARM


@pytest.mark.parametrize("error", [StoreUnavailable("the database is away"), KeyError("Resources")])
async def test_whatever_a_source_raises_is_an_answer(error: Exception) -> None:
    class Broken(FakeSource):
        async def read(self, alarms: Collection[str]) -> Mapping[str, Answer]:
            raise error

    cpu, disk = await AlarmBook([FakeSource("first", disk=OK), Broken("second")]).read(["second/cpu", "disk"])
    assert cpu.state is None
    assert cpu.detail != ""
    assert disk.state is OK


async def test_each_source_is_asked_once_for_all_its_alarms() -> None:
    source = FakeSource("first", a=OK, b=ALARM)
    readings = await AlarmBook([source]).read(["b", "a", "first/a", "b"])
    assert [(one.name, one.state) for one in readings] == [("b", ALARM), ("a", OK), ("first/a", OK)]
    assert source.asked == [{"a", "b"}]


async def test_whom_a_push_concerns() -> None:
    book = AlarmBook([FakeSource("hooks", cpu=OK), FakeSource("other", disk=OK)])
    await book.read(["cpu", "disk"])
    names = ["cpu", "hooks/cpu", "other/cpu", "disk", "x"]
    assert book.concerned(names, "hooks", {"cpu", "disk"}) == {"cpu", "hooks/cpu"}
