"""Old revisions go, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.core.messages import DeploymentId
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.prune import PruneReport, prune
from ferryman_agent.files.tree import remove_tree
from tests.support.bundles import GROUP, put_archive


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "root")
    found.prepare()
    for age, name in enumerate(("d-1", "d-2", "d-3", "d-4")):
        put_archive(found, name, {"x": b"1" * 100})
        os.utime(found.deployment(GROUP, name).path, (age, age))
    return found


def left(layout: Layout) -> set[str]:
    return set(os.listdir(layout.group(GROUP)))


def run(layout: Layout, keep: int, **given: Any) -> PruneReport:
    return prune(layout, GROUP, current=DeploymentId("d-4"), max_revisions=keep, **given)


@pytest.mark.req("AG-170", "AG-173", "V2-070", "AG-T15")
def test_the_oldest_go_with_all_they_hold(layout: Layout) -> None:
    report = run(layout, 2)
    assert (report.removed, report.problems) == (("d-1", "d-2"), ())
    assert left(layout) == {"d-3", "d-4"}


@pytest.mark.req("AG-175", "V2-070", "V2-071", "AG-T16")
def test_pointers_markers_and_callers_protect(layout: Layout) -> None:
    layout.set_last_successful(GROUP, layout.deployment(GROUP, "d-1").path)
    assert run(layout, 1).removed == ("d-2", "d-3")
    for name in ("d-2", "d-3"):
        put_archive(layout, name, {})
    layout.set_most_recent(GROUP, layout.deployment(GROUP, "d-2").path)
    assert run(layout, 1).removed == ("d-3",)
    put_archive(layout, "d-3", {})
    layout.ongoing_mark("d-3").touch()
    assert run(layout, 1).removed == ()
    layout.ongoing_mark("d-3").unlink()
    assert run(layout, 1, in_use=frozenset({"d-3"})).removed == ()


@pytest.mark.req("AG-178")
def test_what_does_not_look_like_a_deployment_is_neither_counted_nor_deleted(layout: Layout) -> None:
    group = layout.group(GROUP)
    (group / "notes").mkdir()
    (group / "file").touch()
    (group / "d-link").symlink_to("/")
    os.utime(group / "notes", (0, 0))
    assert run(layout, 4).removed == ()
    assert run(layout, 3).removed == ("d-1",)
    assert {"notes", "file", "d-link"} <= left(layout)


@pytest.mark.req("V2-071")
def test_a_byte_budget(layout: Layout) -> None:
    assert run(layout, 4, max_bytes=10**9).removed == ()
    assert "d-1" in run(layout, 4, max_bytes=300).removed


@pytest.mark.req("AG-176", "AG-X42", "AG-T17", "V2-070")
def test_what_cannot_be_deleted_is_a_warning_and_the_rest_goes(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = remove_tree

    def stubborn(parent: int, name: str) -> int:
        if name == "d-1":
            raise PermissionError(1, "Operation not permitted")
        return real(parent, name)

    monkeypatch.setattr("ferryman_agent.files.prune.remove_tree", stubborn)
    report = run(layout, 1)
    assert report.removed == ("d-2", "d-3")
    assert report.problems == ("cannot delete the old revision d-1: Operation not permitted",)


def test_no_group_yet(tmp_path: Path) -> None:
    assert run(Layout(tmp_path / "root"), 1) == PruneReport()
