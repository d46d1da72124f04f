"""Whatever is read of alarms in whatever order: the watch agrees with a rule that looks at the whole past."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ferryman_coordinator.core.alarms import FAILED_POLLS, AlarmWatch
from ferryman_coordinator.core.model import AlarmState, Creator, Instant
from tests.support.clock import START
from tests.support.rollouts import alarmed, count, fleet_spec, readings

STATES = (AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA, None)
NAMES = ("a", "b", "c")
# Each poll: what was read of which alarms; a push is a poll of some.
polls = st.lists(st.dictionaries(st.sampled_from((*NAMES, "foreign")), st.sampled_from(STATES)), max_size=12)


def shows(past: Sequence[AlarmState | None]) -> AlarmState | None:
    """What is known of one alarm after its readings: None before the first that counts."""
    if len(past) >= FAILED_POLLS and all(one is None for one in past[-FAILED_POLLS:]):
        return AlarmState.UNREADABLE
    seen = [place for place, one in enumerate(past) if one is not None]
    last = past[seen[-1]] if seen else None
    # Once unreadable it stays so until it is read again.
    failed = len(past) - (seen[-1] + 1 if seen else 0)
    return AlarmState.UNREADABLE if failed >= FAILED_POLLS else last


@given(polls=polls, ignores=st.booleans(), is_rollback=st.booleans())
def test_the_watch_is_the_rule(
    polls: list[dict[str, AlarmState | None]], ignores: bool, is_rollback: bool
) -> None:
    spec = fleet_spec(
        count(1),
        options=alarmed(*NAMES, ignore_poll_alarm_failure=ignores),
        creator=Creator.ROLLBACK if is_rollback else Creator.USER,
    )
    watch = AlarmWatch(spec)
    past: dict[str, list[AlarmState | None]] = {name: [] for name in NAMES}
    warned: list[str] = []
    for number, poll in enumerate(polls):
        warned += watch.take(readings(**poll), Instant(START + number))
        for name in poll.keys() & past.keys():
            past[name].append(poll[name])
        known = {name: shows(of_it) for name, of_it in past.items()}
        assert {one.name: one.state for one in watch.records} == {
            name: state for name, state in known.items() if state is not None
        }
        assert watch.is_awaited == (not is_rollback and None in known.values())
        stops = {AlarmState.ALARM} if ignores else {AlarmState.ALARM, AlarmState.UNREADABLE}
        assert (watch.cause is not None) == (not is_rollback and bool(stops & set(known.values())))
        # A new watch of what is stored waits again, and remembers.
        again = AlarmWatch(spec, watch.records)
        assert again.records == watch.records
        assert again.is_awaited is not is_rollback
    assert not warned or (ignores and not is_rollback)
