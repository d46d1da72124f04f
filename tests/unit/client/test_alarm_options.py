"""What the options about alarms make of a group's configuration, and how alarms are shown."""

from __future__ import annotations

import pytest

from ferryman.v1 import alarms_pb2, inventory_pb2
from ferryman_client.cli.alarm_options import AlarmWish
from ferryman_client.cli.alarms import watched_rows


def configuration(
    *names: str, enabled: bool = True, ignores: bool = False
) -> inventory_pb2.AlarmConfiguration:
    return inventory_pb2.AlarmConfiguration(enabled=enabled, ignore_poll_alarm_failure=ignores, alarms=names)


@pytest.mark.req("CP-360", "CP-361")
@pytest.mark.parametrize(
    "names, ignore, watch, known, result",
    [
        (
            None,
            None,
            False,
            configuration("cpu", ignores=True),
            configuration("cpu", enabled=False, ignores=True),
        ),
        (None, None, True, configuration("cpu", enabled=False), configuration("cpu")),
        (["disk"], None, None, configuration("cpu", enabled=False), configuration("disk")),
        (["disk"], None, False, configuration("cpu"), configuration("disk", enabled=False)),
        (None, True, None, configuration("cpu"), configuration("cpu", ignores=True)),
        (None, True, None, configuration(enabled=False), configuration(enabled=False, ignores=True)),
        (None, False, None, configuration("cpu", ignores=True), configuration("cpu")),
    ],
)
def test_what_is_not_said_stays_as_the_group_has_it(
    names: list[str] | None,
    ignore: bool | None,
    watch: bool | None,
    known: inventory_pb2.AlarmConfiguration,
    result: inventory_pb2.AlarmConfiguration,
) -> None:
    wish = AlarmWish(names=names, ignore=ignore, watch=watch)
    assert not wish.is_empty
    assert wish.over(known) == result


def test_saying_nothing_is_no_wish() -> None:
    assert AlarmWish(names=None, ignore=None, watch=None).is_empty
    assert AlarmWish(names=[], ignore=None, watch=None).is_empty


def test_watched_alarms_are_lines_below_each_other() -> None:
    rows = watched_rows(
        [
            alarms_pb2.Alarm(
                name="cpu", state=alarms_pb2.ALARM_STATE_ALARM, since=1_700_000_000_000, detail="hot"
            ),
            alarms_pb2.Alarm(name="disk", state=alarms_pb2.ALARM_STATE_OK, detail="all is well"),
            alarms_pb2.Alarm(name="net"),
        ]
    )
    assert [(label, str(text)) for label, text in rows] == [
        ("Alarms", "cpu  ALARM since 2023-11-14T22:13:20.000Z: hot"),
        (" ", "disk  OK"),
        (" ", "net  not read yet"),
    ]
    assert watched_rows([]) == []
