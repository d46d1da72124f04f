"""Any sequence of installs on a real directory, against a model of what belongs to whom."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman_agent.core.messages import FileExistsBehavior, Instant
from ferryman_agent.errors import InstallError
from ferryman_agent.files.install import _Install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from tests.support.bundles import description, put_archive

FOREIGN = {"f1": b"foreign 1", "d/f2": b"foreign 2"}
NAMES = ("a", "b", "d", "d/a", "d/e/x", "a/x", "a/y", "f1", "d/f2", "f1/below", "g/h")

revisions: st.SearchStrategy[dict[str, bytes | str]] = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([b"one", b"two", b"three!", "b", "d"]), max_size=6
)
behaviors = st.sampled_from(list(FileExistsBehavior))


def consistent(files: dict[str, bytes | str]) -> dict[str, bytes | str]:
    """Drops what cannot be in one archive: something below a file."""
    kept: dict[str, bytes | str] = {}
    for name in sorted(files):
        if not any(name.startswith(f"{other}/") for other in kept):
            kept[name] = files[name]
    return kept


@contextmanager
def small_host() -> Iterator[tuple[Path, Layout]]:
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync"):
        app = Path(folder, "srv", "app")
        for name, content in FOREIGN.items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_bytes(content)
        layout = Layout(Path(folder, "agent", "root"))
        layout.prepare()
        yield app, layout


def contents(app: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for folder, folders, files in os.walk(app):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                found[path.relative_to(app).as_posix()] = os.readlink(path)
            elif path.is_file():
                found[path.relative_to(app).as_posix()] = path.read_bytes()
    return found


def deploy(
    app: Path, layout: Layout, number: int, files: dict[str, bytes | str], behavior: FileExistsBehavior
) -> bool:
    text = f"version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {app}\n"
    ident = f"d-{number}"
    put_archive(
        layout,
        ident,
        {"app/": b"", **{f"app/{n}": c for n, c in files.items()}, "appspec.yml": text.encode()},
    )
    try:
        _Install(
            description(ident, file_exists_behavior=behavior), layout, Instant(number), InstallSettings()
        ).run()
    except InstallError as refused:
        if refused.detail_code not in ("FILES_CONFLICT", "FILES_PARENT_NOT_DIRECTORY"):
            raise
        return False
    return True


def judge(
    files: dict[str, bytes | str], foreign: dict[str, bytes], behavior: FileExistsBehavior
) -> dict[str, bytes | str] | None:
    """Returns what becomes ours; None when the install must be refused."""
    ours: dict[str, bytes | str] = {}
    for name, content in files.items():
        if any(name.startswith(f"{other}/") for other in foreign):
            return None
        # The folder of somebody else's file stays somebody else's when the file is gone.
        is_directory = any(other.startswith(f"{name}/") for other in FOREIGN)
        if not is_directory and name not in foreign:
            ours[name] = content
        elif behavior is FileExistsBehavior.RETAIN:
            continue
        elif is_directory or behavior is FileExistsBehavior.DISALLOW:
            return None
        else:
            ours[name] = content
    return ours


@pytest.mark.req(
    "AG-165", "AG-166", "AG-167", "AG-286", "AG-320", "AG-321", "AG-327", "AG-335", "V2-195", "V2-196"
)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(revisions.map(consistent), behaviors), min_size=1, max_size=4))
def test_every_install_gives_what_was_asked_for_and_touches_nothing_else(
    steps: list[tuple[dict[str, bytes | str], FileExistsBehavior]],
) -> None:
    with small_host() as (app, layout):
        foreign, ours = dict(FOREIGN), {}
        for number, (files, behavior) in enumerate(steps):
            wanted = judge(files, foreign, behavior)
            assert deploy(app, layout, number, files, behavior) is (wanted is not None), (
                files,
                behavior,
                foreign,
            )
            if wanted is not None:
                ours = wanted
                foreign = {name: content for name, content in foreign.items() if name not in ours}
            assert contents(app) == {**foreign, **ours}
        assert deploy(app, layout, 99, {}, FileExistsBehavior.DISALLOW)
        assert contents(app) == foreign
        folders = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_dir()}
        assert folders == {"d"}
