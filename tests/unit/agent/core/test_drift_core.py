"""What differs, and which contents must be read to know it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferryman.appspec import EntryKind
from ferryman_agent.core.drift import (
    SHOWN,
    DriftedFile,
    FileDrift,
    Found,
    InstalledGroup,
    Known,
    Recorded,
    drift_of,
    must_read,
    summary,
)
from ferryman_agent.core.messages import GroupId, Instant

MARK = (7, 100, 1_000, 2_000)
TOUCHED = (7, 100, 1_500, 2_500)
FILE = Recorded("/srv/a", EntryKind.FILE, 0o644, 1, 2, MARK, "aa")
SAME = Found(EntryKind.FILE, 0o644, 1, 2, MARK)
LINK = Recorded("/srv/l", EntryKind.LINK, 0o777, 1, 2, MARK, "", "target")
FOLDER = Recorded("/srv/d", EntryKind.DIRECTORY, 0o755, 1, 2, MARK)
STATE = InstalledGroup(group_id=GroupId("g"), deployment_id="d-1", checked_at=Instant(5), archive_whole=True)


@pytest.mark.req("AG-550")
@pytest.mark.parametrize(
    "recorded, found, sha256, drift",
    [
        (FILE, SAME, "", None),
        (FILE, SAME, "aa", None),
        (FILE, SAME._replace(mark=TOUCHED), "aa", None),
        (FILE, None, "", FileDrift.MISSING),
        (FILE, SAME._replace(kind=EntryKind.LINK, target="/etc/passwd"), "", FileDrift.KIND),
        (FILE, SAME._replace(kind=EntryKind.DIRECTORY), "", FileDrift.KIND),
        (FILE, SAME, "bb", FileDrift.CONTENT),
        (FILE, SAME._replace(mark=(7, 101, 1_000, 2_000)), "", FileDrift.CONTENT),
        (FILE, SAME._replace(mode=0o600, mark=TOUCHED), "bb", FileDrift.CONTENT),
        (FILE, SAME._replace(mode=0o600), "aa", FileDrift.ATTRIBUTES),
        (FILE, SAME._replace(mode=0o4644), "", FileDrift.ATTRIBUTES),
        (FILE, SAME._replace(uid=0), "", FileDrift.ATTRIBUTES),
        (FILE, SAME._replace(gid=0), "", FileDrift.ATTRIBUTES),
        (FILE._replace(sha256=""), SAME, "bb", None),
        (LINK, Found(EntryKind.LINK, 0o755, 1, 2, TOUCHED, "target"), "", None),
        (LINK, Found(EntryKind.LINK, 0o777, 1, 2, MARK, "elsewhere"), "", FileDrift.CONTENT),
        (LINK, Found(EntryKind.LINK, 0o777, 3, 2, MARK, "target"), "", FileDrift.ATTRIBUTES),
        (FOLDER, Found(EntryKind.DIRECTORY, 0o755, 1, 2, (9, 1, 1, 1)), "", None),
        (FOLDER, Found(EntryKind.DIRECTORY, 0o777, 1, 2, MARK), "", FileDrift.ATTRIBUTES),
        (FOLDER, Found(EntryKind.LINK, 0o777, 1, 2, MARK, "/"), "", FileDrift.KIND),
    ],
)
def test_what_differs(recorded: Recorded, found: Found | None, sha256: str, drift: FileDrift | None) -> None:
    assert drift_of(recorded, found, sha256) is drift


@pytest.mark.req("AG-549")
@pytest.mark.parametrize(
    "found, known, with_digests, is_distrusted, is_read",
    [
        (SAME, None, False, False, False),
        (SAME._replace(mark=TOUCHED), None, False, False, True),
        # It was read when it had this mark already.
        (SAME._replace(mark=TOUCHED), Known(TOUCHED, "aa"), False, False, False),
        (SAME._replace(mark=TOUCHED), Known(MARK, "aa"), False, False, True),
        # Its mark has been seen to lie.
        (SAME, None, False, True, True),
        (SAME, Known(MARK, "bb"), False, True, False),
        (SAME, Known(MARK, "aa"), True, False, True),
        # Nothing that its content could add.
        (None, None, True, True, False),
        (SAME._replace(kind=EntryKind.LINK), None, True, True, False),
        (SAME._replace(mark=(7, 101, 1_500, 2_500)), None, True, True, False),
    ],
)
def test_only_what_stat_cannot_vouch_for_is_read(
    found: Found | None, known: Known | None, with_digests: bool, is_distrusted: bool, is_read: bool
) -> None:
    assert must_read(FILE, found, known, with_digests=with_digests, is_distrusted=is_distrusted) is is_read


@pytest.mark.req("AG-550")
def test_all_are_counted_and_the_first_are_named() -> None:
    drifts = [(f"/srv/{number:03}", FileDrift.MISSING if number % 2 else None) for number in range(500)]
    state = summary(STATE, drifts)
    assert (state.files_checked, state.files_drifted) == (500, 250)
    names = [f"/srv/{number:03}" for number in range(1, 2 * SHOWN, 2)]
    assert state.drifted == tuple(DriftedFile(name, FileDrift.MISSING) for name in names)
    assert len(state.drifted) == SHOWN == 100


@pytest.mark.req("AG-553")
def test_only_another_result_is_news() -> None:
    assert STATE.is_news_after(None)
    assert not replace(STATE, checked_at=Instant(9)).is_news_after(STATE)
    assert replace(STATE, with_digests=True).is_news_after(STATE)
    assert not STATE.is_news_after(replace(STATE, with_digests=True))
    for other in (
        replace(STATE, files_drifted=1),
        replace(STATE, drifted=(DriftedFile("/a", FileDrift.KIND),)),
        replace(STATE, deployment_id="d-2"),
        replace(STATE, archive_whole=False),
        replace(STATE, error="cannot"),
    ):
        assert other.is_news_after(STATE)
