"""Any tree, any changes: exactly what was changed is reported, whichever way it is looked at."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman_agent.core.drift import SHOWN, FileDrift
from ferryman_agent.core.messages import GroupId, Instant
from ferryman_agent.files.check import Knowledge, check_group
from ferryman_agent.files.install import _Install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from tests.support.bundles import GROUP, description, put_archive

NAMES = ("a", "b", "c", "d/a", "d/b", "d/e/a", "é", "with space", "d/\nline")


def rewrite(path: Path) -> FileDrift | None:
    path.write_bytes(path.read_bytes() + b"!")
    return FileDrift.CONTENT


def flip(path: Path) -> FileDrift | None:
    """The same size, and the time put back."""
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(bytes(byte ^ 1 for byte in content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return FileDrift.CONTENT if content else None


def replace_by_copy(path: Path) -> FileDrift | None:
    content, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode & 0o7777)
    return None


def touch(path: Path) -> FileDrift | None:
    os.utime(path)
    return None


def remove(path: Path) -> FileDrift | None:
    path.unlink()
    return FileDrift.MISSING


def link(path: Path) -> FileDrift | None:
    path.unlink()
    path.symlink_to("/etc/hostname")
    return FileDrift.KIND


def folder(path: Path) -> FileDrift | None:
    path.unlink()
    path.mkdir()
    return FileDrift.KIND


def chmod(path: Path) -> FileDrift | None:
    path.chmod(0o4755)
    return FileDrift.ATTRIBUTES


Change = Callable[[Path], FileDrift | None]
CHANGES: list[Change] = [rewrite, flip, replace_by_copy, touch, remove, link, folder, chmod]

trees = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=20), min_size=1)


@pytest.mark.req("AG-550", "AG-551", "AG-557")
@settings(max_examples=60, deadline=None)
@given(data=st.data(), files=trees, with_digests=st.booleans())
def test_exactly_what_was_changed_is_reported_and_mended(
    data: st.DataObject, files: dict[str, bytes | str], with_digests: bool
) -> None:
    with tempfile.TemporaryDirectory() as home, patch("os.fsync"):
        app = Path(home, "srv/app")
        layout = Layout(Path(home, "agent/root"))
        layout.prepare()

        def install(ident: str) -> None:
            appspec = f"version: 0.0\nos: linux\nfiles:\n  - source: /\n    destination: {app}\n"
            put_archive(layout, ident, {**files, "appspec.yml": appspec.encode()})
            _Install(description(ident), layout, Instant(1), InstallSettings()).run()

        def look(knowledge: Knowledge) -> tuple[dict[str, FileDrift], Knowledge]:
            checked = check_group(
                layout,
                GroupId(GROUP),
                knowledge=knowledge,
                with_digests=with_digests,
                now=Instant(1),
                pace=lambda count: None,
                stop=threading.Event(),
            )
            assert checked is not None
            state = checked.state
            assert state.error == ""
            assert state.files_drifted == len(state.drifted) <= SHOWN
            paths = [one.path for one in state.drifted]
            assert paths == sorted(paths)
            return {one.path: one.drift for one in state.drifted}, checked.knowledge

        install("d-1")
        found, knowledge = look(Knowledge())
        assert found == {}
        changes = data.draw(st.dictionaries(st.sampled_from(sorted(files)), st.sampled_from(CHANGES)))
        expected = {}
        for name, change in changes.items():
            drift = change(app / name)
            if drift is not None:
                expected[f"{app}/{name}"] = drift
        found, knowledge = look(knowledge)
        assert found == expected
        # Looking changes nothing, and what was learned by it changes no answer.
        assert look(knowledge)[0] == expected
        assert look(Knowledge())[0] == expected
        # A folder in a file's place may have others' files in it; an install leaves that to people.
        install("d-2")
        assert look(knowledge)[0] == {}
        assert {name: (app / name).read_bytes() for name in files} == files
