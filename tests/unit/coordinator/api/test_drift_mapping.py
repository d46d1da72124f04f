"""What agents say of what is installed: cut to what an honest one would say."""

from __future__ import annotations

import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman_coordinator.api.mapping.drift import check_id_from, installed_to, states_from
from ferryman_coordinator.core.drift import FileDrift
from ferryman_coordinator.core.model import Instant
from tests.unit.coordinator.api.test_agent_stream import Wire, settle

NOW = Instant(1_700_000_000_000)


def of(**fields: object) -> pb.InstalledState:
    given = {"deployment_group_id": "g-1", "deployment_id": "d-AAAAAAAAA"} | fields
    return pb.InstalledState(groups=[pb.InstalledGroup(**given)])  # type: ignore[arg-type]  # any field


def test_an_honest_answer_comes_through_whole() -> None:
    group = pb.InstalledGroup(
        deployment_group_id="g-1",
        deployment_id="d-AAAAAAAAA",
        files_checked=10,
        files_drifted=1,
        drifted=[pb.DriftedFile(path="/srv/a é", drift=pb.FILE_DRIFT_KIND)],
        checked_at=5,
        with_digests=True,
        archive_whole=True,
        bundle_whole=False,
        error="2 files could not be looked at",
    )
    (state,) = states_from(pb.InstalledState(groups=[group]), NOW)
    assert state.drifted[0].drift is FileDrift.KIND
    assert state.received_at == NOW
    assert installed_to(state) == group


@pytest.mark.req("AG-554")
def test_numbers_and_lengths_are_bounded() -> None:
    files = [pb.DriftedFile(path="x" * 100_000, drift=pb.FILE_DRIFT_CONTENT)] * 10_000
    (state,) = states_from(of(drifted=files, files_checked=2**64 - 1, error="e" * 100_000), NOW)
    assert len(state.drifted) == 100
    assert {len(file.path) for file in state.drifted} == {4096}
    assert (state.files_checked, state.files_drifted, len(state.error)) == (2**53, 100, 1024)
    many = pb.InstalledState(groups=[of().groups[0]] * 5_000)
    assert len(states_from(many, NOW)) == 1_000
    assert check_id_from(pb.InstalledState(check_id="c" * 65)) == ""


@pytest.mark.req("AG-554")
@pytest.mark.parametrize("at, shown", [(-(2**63), 0), (2**63 - 1, 253_402_300_799_999), (7, 7)])
def test_times_are_some_that_can_be_shown(at: int, shown: int) -> None:
    (state,) = states_from(of(checked_at=at), NOW)
    assert state.checked_at == shown


@pytest.mark.req("AG-554")
def test_what_a_terminal_would_obey_is_made_visible() -> None:
    path = "/srv/a\x1b[2J\n\0\u202e\x9b"
    files = [pb.DriftedFile(path=path, drift=pb.FILE_DRIFT_MISSING)]
    (state,) = states_from(of(drifted=files, error="a\x07b"), NOW)
    assert state.drifted[0].path == r"/srv/a\x1b[2J\n\x00\u202e\x9b"
    assert state.error == r"a\x07b"
    (long,) = states_from(of(drifted=[pb.DriftedFile(path="\0" * 4096, drift=pb.FILE_DRIFT_MISSING)]), NOW)
    assert len(long.drifted[0].path) == 4096


@pytest.mark.req("AG-554")
@pytest.mark.parametrize(
    "fields",
    [
        {"deployment_group_id": ""},
        {"deployment_group_id": "x" * 65},
        {"deployment_group_id": "a\0b"},
        {"deployment_group_id": "../x"},
        {"deployment_id": "x" * 65},
        {"deployment_id": "d-\x1b[0m"},
    ],
)
def test_ids_that_nothing_has_are_left_out(fields: dict[str, str]) -> None:
    assert states_from(of(**fields), NOW) == ()


@pytest.mark.req("AG-554")
def test_kinds_of_drift_that_are_not_known_are_left_out_and_still_counted() -> None:
    files = [pb.DriftedFile(path="/a", drift=number) for number in (0, 77)]  # type: ignore[arg-type]
    (state,) = states_from(of(drifted=files, files_drifted=2), NOW)
    assert (state.drifted, state.files_drifted) == ((), 2)


@pytest.mark.req("AG-554")
async def test_a_store_that_is_slow_does_not_pile_up_findings() -> None:
    wire = Wire()
    wire.installed.may_store.clear()
    wire.say(installed_state=pb.InstalledState(check_id="c-0"))
    await settle()
    for number in range(1, 100):
        wire.say(installed_state=pb.InstalledState(check_id=f"c-{number}"))
    await settle()
    wire.installed.may_store.set()
    await settle()
    kept = [check_id for check_id, _ in wire.installed.taken]
    # The one that was being stored, and the newest.
    assert kept == ["c-0", *(f"c-{number}" for number in range(84, 100))]
    wire.hang_up()
    await wire.running
