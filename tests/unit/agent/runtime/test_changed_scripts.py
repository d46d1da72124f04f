"""Scripts of a previous revision that somebody changed on the machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ferryman_agent.files.digests import Digests, mark_of, sha256_of
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.runtime.changed_scripts import changed
from ferryman_agent.runtime.scripts import choose
from tests.support.segments import a_deployment

SPEC = "version: 0.0\nos: linux\nhooks:\n  ApplicationStop:\n    - location: bin/stop.sh\n"


def record(directory: DeploymentDir) -> None:
    digests = Digests()
    for path in directory.archive.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                name = str(path.relative_to(directory.archive))
                digests.remember(name, mark_of(path.stat()), sha256_of(file.fileno()))
    digests.save(directory.archive_digests)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "root")
    made.prepare()
    return made


@pytest.fixture
def previous(layout: Layout) -> DeploymentDir:
    directory = layout.create_deployment("g-1", "d-good")
    (directory.archive / "bin").mkdir(parents=True)
    (directory.archive / "appspec.yml").write_text(SPEC)
    (directory.archive / "bin/stop.sh").write_text("#!/bin/sh\nexit 0\n")
    record(directory)
    layout.set_last_successful("g-1", directory.path)
    return directory


def remark(layout: Layout) -> str:
    return choose("ApplicationStop", a_deployment(), layout, fail_on_missing=False).remark


@pytest.mark.req("AG-209")
def test_a_changed_script_is_told_and_still_run(layout: Layout, previous: DeploymentDir) -> None:
    assert remark(layout) == ""
    (previous.archive / "bin/stop.sh").write_text("#!/bin/sh\nexit 1\n")
    assert remark(layout).startswith("bin/stop.sh of deployment d-good")
    assert choose("ApplicationStop", a_deployment(), layout, fail_on_missing=False).scripts


@pytest.mark.req("AG-209")
def test_a_changed_appspec_is_told(layout: Layout, previous: DeploymentDir) -> None:
    (previous.archive / "appspec.yml").write_text(f"{SPEC}# edited\n")
    assert remark(layout).startswith("appspec.yml of deployment d-good")


def test_a_changed_mode_or_time_is_no_change(layout: Layout, previous: DeploymentDir) -> None:
    (previous.archive / "bin/stop.sh").chmod(0o755)
    os.utime(previous.archive / "bin/stop.sh", (1, 1))
    assert remark(layout) == ""


def test_other_files_are_not_read(layout: Layout, previous: DeploymentDir) -> None:
    (previous.archive / "bin/other").write_text("new")
    assert remark(layout) == ""


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_file_any_more_is_changed(layout: Layout, previous: DeploymentDir, kind: str) -> None:
    path = previous.archive / "bin/stop.sh"
    path.unlink()
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to("/etc/passwd"),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
    }
    make[kind]()
    assert changed(previous, ["/bin/stop.sh"]) == ["bin/stop.sh"]


def test_without_a_record_or_a_file_nothing_is_said(previous: DeploymentDir) -> None:
    (previous.archive / "bin/stop.sh").unlink()
    assert changed(previous, ["bin/stop.sh"]) == []
    (previous.archive / "bin/stop.sh").write_text("other")
    previous.archive_digests.unlink()
    assert changed(previous, ["bin/stop.sh"]) == []
