"""What a machine forgets on demand: a broken revision, and groups that it has left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ferryman_agent import wiring
from ferryman_agent.cli.main import main
from ferryman_agent.clock import SystemClock
from ferryman_agent.config import Config, load
from ferryman_agent.core.messages import DeploymentId, GroupId
from ferryman_agent.files.cleanup import Journal, read_journal, write_journal
from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime.group_turns import GroupTurns
from ferryman_agent.runtime.scripts import choose
from tests.support.segments import a_deployment


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("FERRYMAN_AGENT_HOME", str(tmp_path))
    return load(None, {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config


@pytest.fixture
def layout(config: Config) -> Layout:
    made = wiring.layout(config)
    made.prepare()
    directory = made.create_deployment("g-1", "d-good")
    directory.archive.mkdir()
    spec = {"version": 0.0, "os": "linux", "hooks": {"ApplicationStop": [{"location": "broken.sh"}]}}
    (directory.archive / "appspec.yml").write_text(yaml.safe_dump(spec))
    made.set_last_successful("g-1", directory.path)
    made.set_most_recent("g-1", directory.path)
    return made


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.req("AG-210", "AG-S08", "AG-X31")
def test_the_next_deployment_runs_none_of_its_scripts(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose("ApplicationStop", a_deployment(), layout, fail_on_missing=False).scripts
    assert run("forget-revision", "--group", "g-1") == 0
    assert "Forgot deployment d-good" in capsys.readouterr().out
    assert not choose("ApplicationStop", a_deployment(), layout, fail_on_missing=False).scripts
    assert layout.most_recent("g-1") is not None, "its files stay"
    assert run("forget-revision", "--group", "g-1") == 0
    assert "Nothing to forget" in capsys.readouterr().out


def test_a_group_that_is_not_here_is_named_with_those_that_are(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("forget-revision", "--group", "g-2") == 1
    said = capsys.readouterr().err
    assert "'g-2'" in said
    assert "g-1" in said
    assert layout.last_successful("g-1") is not None


def everything(root: Path, group: str) -> list[str]:
    """What still says something of a group."""
    return sorted(path.name for path in root.rglob("*") if group in str(path) and path.is_file())


@pytest.mark.req("AG-180")
def test_the_data_of_a_group_that_the_machine_has_left_is_listed_and_removed(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = tmp_path / "srv"
    installed.write_text("page")
    layout.create_deployment("g-2", "d-2").archive.mkdir()
    for path in layout.records_of("g-2"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path != layout.install_mark("g-2"):
            path.write_text(str(layout.deployment("g-2", "d-2").path))
    before = everything(tmp_path, "g-1")
    assert run("gc", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["groups"]
    assert {(one["group_id"], one["deployments"]) for one in listed} == {("g-1", 1), ("g-2", 1)}
    assert run("gc", "--group", "g-2") == 0
    assert "the files that it installed stay" in capsys.readouterr().out
    assert everything(tmp_path, "g-2") == ["g-2-lock"]
    assert not layout.group("g-2").exists()
    assert everything(tmp_path, "g-1") == before
    assert installed.read_text() == "page"
    assert run("gc") == 0
    said = capsys.readouterr().out
    assert "g-1" in said
    assert "g-2" not in said


@pytest.mark.req("AG-180")
def test_data_that_somebody_needs_is_not_removed(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gc", "--group", "g-9") == 1
    assert "'g-9'" in capsys.readouterr().err
    turns = GroupTurns(layout, SystemClock())
    turns.hold(GroupId("g-1"), DeploymentId("d-7"))
    assert run("gc", "--group", "g-1") == 1
    assert "is being worked on by deployment d-7" in capsys.readouterr().err
    turns.release(GroupId("g-1"), DeploymentId("d-7"))
    layout.install_mark("g-1").write_text("")
    assert run("gc", "--group", "g-1") == 1
    assert "was interrupted" in capsys.readouterr().err
    assert layout.last_successful("g-1") is not None


def installed(layout: Layout, group: str, *paths: Path) -> None:
    """Says that the group has installed them."""
    write_journal(layout.cleanup_journal(group), Journal(tuple(map(str, paths))))


@pytest.mark.req("AG-180", "AG-327", "AG-334")
def test_what_the_group_has_installed_goes_with_it_when_that_is_asked_for(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, shared = tmp_path / "srv" / "mine", tmp_path / "srv" / "shared"
    for folder in (mine, shared):
        folder.mkdir(parents=True)
        (folder / "page").write_text("page")
    (shared / "foreign").write_text("by hand")
    (shared / "both").write_text("of both")
    theirs = (shared / "both",)
    installed(layout, "g-1", mine, mine / "page", shared, shared / "page", *theirs, mine / "gone")
    installed(layout, "g-2", *theirs)
    assert run("gc", "--json") == 0
    listed = {one["group_id"]: one for one in json.loads(capsys.readouterr().out)["groups"]}
    assert {name: one["installed_paths"] for name, one in listed.items()} == {"g-1": 6, "g-2": 1}
    assert run("gc", "--remove", "g-1", "--uninstall") == 0
    said = capsys.readouterr().out
    assert "3 files and directories that it had installed are gone" in said
    assert f"2 stay, since others use them: {shared}/both, {shared}" in said
    assert not mine.exists()
    assert {path.name for path in shared.iterdir()} == {"foreign", "both"}
    assert everything(tmp_path, "g-1") == ["g-1-lock"]
    assert not layout.group("g-1").exists()


@pytest.mark.req("AG-180", "AG-336")
def test_a_group_whose_files_cannot_be_removed_stays(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page").write_text("page")
    (tmp_path / "other").write_text("other")
    installed(layout, "g-1", tmp_path / "page", tmp_path / "other")
    real = os.unlink

    def busy(path: Any, **given: Any) -> None:
        if path == "page":
            raise OSError(16, "Device or resource busy")
        real(path, **given)

    monkeypatch.setattr(os, "unlink", busy)
    assert run("gc", "--remove", "g-1", "--uninstall") == 1
    said = capsys.readouterr().err
    assert f"its data stays: cannot remove {tmp_path}/page: Device or resource busy" in said
    assert read_journal(layout.cleanup_journal("g-1")).paths == (str(tmp_path / "page"),)
    assert layout.last_successful("g-1") is not None
    monkeypatch.undo()
    monkeypatch.setenv("FERRYMAN_AGENT_HOME", str(tmp_path))
    layout.cleanup_journal("g-1").chmod(0o666)
    assert run("gc", "--remove", "g-1", "--uninstall") == 1
    assert "could have been written by others" in capsys.readouterr().err
    layout.cleanup_journal("g-1").chmod(0o600)
    assert run("gc", "--remove", "g-1", "--uninstall") == 0
    assert not (tmp_path / "page").exists()


@pytest.mark.req("AG-180")
def test_a_command_in_progress_keeps_the_data_while_no_agent_runs(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.ongoing_mark("d-good").touch()
    assert run("gc", "--remove", "g-1", "--uninstall") == 1
    assert "deployment d-good of deployment group g-1 is in progress" in capsys.readouterr().err
    assert layout.group("g-1").exists()


@pytest.mark.req("AG-180")
def test_nothing_is_uninstalled_without_a_name(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gc", "--uninstall") == 2
    assert "needs --remove GROUP" in capsys.readouterr().err
    assert layout.group("g-1").exists()


def test_what_is_logged_on_the_way_does_not_spoil_the_json(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (layout.instructions / "g-1_last_successful_install").write_text("garbage")
    for command in ("history", "gc"):
        assert run(command, "--json") == 0
        printed = capsys.readouterr()
        json.loads(printed.out)
        assert "layout.pointer_ignored" in printed.err
