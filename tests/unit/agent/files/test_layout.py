"""Where everything lives: names, ids, pointers, modes."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from ferryman_agent.errors import EventError
from ferryman_agent.files.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "agent" / "deployment-root")
    found.prepare()
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.req("AG-149", "AG-151", "AG-C03", "AG-C34", "V2-060", "AG-001")
def test_names_are_the_originals(layout: Layout) -> None:
    def relative(path: Path) -> str:
        return str(path.relative_to(layout.root))

    directory = layout.deployment("dg", "d-1")
    assert relative(directory.bundle) == "dg/d-1/bundle.tar"
    assert relative(directory.archive) == "dg/d-1/deployment-archive"
    assert relative(directory.archive_temp) == "dg/d-1/deployment-archive-temp"
    assert relative(directory.scripts_log) == "dg/d-1/logs/scripts.log"
    assert relative(layout.cleanup_journal("dg")) == "deployment-instructions/dg-cleanup"
    assert relative(layout.install_json("dg")) == "deployment-instructions/dg-install.json"
    assert relative(layout.deployments_log) == "deployment-logs/ferryman-agent-deployments.log"
    assert relative(layout.ongoing_mark("d-1")) == "ongoing-deployment/d-1"
    layout.set_last_successful("dg", directory.path)
    layout.set_most_recent("dg", directory.path)
    instructions = layout.root / "deployment-instructions"
    content = str(directory.path).encode()
    assert (instructions / "dg_last_successful_install").read_bytes() == content
    assert (instructions / "dg_most_recent_install").read_bytes() == content


@pytest.mark.req("AG-148", "V2-135")
@pytest.mark.parametrize("ident", ["../x", "a/b", "..", ".", "", "a\0b", "a b", "ä", "x" * 200, "/abs"])
def test_unsafe_ids_are_refused_before_a_path_is_built(layout: Layout, ident: str) -> None:
    for build in (
        lambda: layout.deployment(ident, "d-1"),
        lambda: layout.deployment("dg", ident),
        lambda: layout.cleanup_journal(ident),
        lambda: layout.ongoing_mark(ident),
        lambda: layout.create_deployment("dg", ident),
    ):
        with pytest.raises(EventError) as refused:
            build()
        assert refused.value.detail_code == "UNSAFE_ID"


@pytest.mark.req("AG-155")
@pytest.mark.parametrize("name", ["deployment-instructions", "deployment-logs", "ongoing-deployment"])
def test_the_agents_own_folders_are_no_group_ids(layout: Layout, name: str) -> None:
    with pytest.raises(EventError, match="folder of the agent"):
        layout.group(name)


@pytest.mark.req("AG-152", "AG-198", "AG-199")
def test_pointers_are_read_back_with_or_without_a_newline(layout: Layout) -> None:
    assert layout.last_successful("dg") is None
    path = layout.deployment("dg", "d-1").path
    layout.set_last_successful("dg", path)
    assert layout.last_successful("dg") == path
    (layout.instructions / "dg_most_recent_install").write_bytes(os.fsencode(path) + b"\n")
    assert layout.most_recent("dg") == path
    layout.forget_last_successful("dg")
    assert layout.last_successful("dg") is None


@pytest.mark.req("AG-153", "V2-288")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"relative/dg/d-1",
        b"\0\xff\xfe",
        b"/elsewhere/other-group/d-1",
        b"/x" * 9000,
        bytes(range(256)),
    ],
)
def test_garbage_in_a_pointer_counts_as_absent(layout: Layout, content: bytes) -> None:
    (layout.instructions / "dg_last_successful_install").write_bytes(content)
    assert layout.last_successful("dg") is None


@pytest.mark.req("V2-280", "V2-284", "AG-154")
def test_folders_have_exact_modes_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        layout = Layout(tmp_path / "new" / "root")
        layout.prepare()
        directory = layout.create_deployment("dg", "d-1")
    finally:
        os.umask(before)
    assert mode(layout.root) == 0o711
    assert mode(layout.instructions) == mode(layout.ongoing) == mode(layout.state) == 0o700
    assert mode(layout.deployments_log.parent) == 0o750
    assert mode(directory.path) == mode(directory.path.parent) == 0o711
    layout.set_last_successful("dg", directory.path)
    assert mode(layout.instructions / "dg_last_successful_install") == 0o600


def test_an_emptied_root_is_made_anew_for_the_next_deployment(layout: Layout) -> None:
    shutil.rmtree(layout.root)
    directory = layout.create_deployment("dg", "d-1")
    assert directory.path.is_dir()
    assert (mode(layout.root), mode(layout.ongoing), mode(layout.instructions)) == (0o711, 0o700, 0o700)
    assert layout.deployments_log.parent.is_dir()


@pytest.mark.req("V2-281")
def test_open_folders_are_tightened_and_stricter_ones_kept(layout: Layout) -> None:
    layout.instructions.chmod(0o777)
    layout.ongoing.chmod(0o500)
    layout.prepare()
    assert mode(layout.instructions) == 0o700
    assert mode(layout.ongoing) == 0o500


def test_state_is_beside_the_root_unless_configured(tmp_path: Path) -> None:
    assert Layout(tmp_path / "root").state == tmp_path / "state"
    assert Layout(tmp_path / "root", state_dir=tmp_path / "other").state == tmp_path / "other"


def test_journals_of_all_groups(layout: Layout) -> None:
    for name in ("a-cleanup", "b-cleanup-cleanup", "c-install.json"):
        (layout.instructions / name).touch()
    assert set(layout.journals()) == {"a", "b-cleanup"}
