"""What an install leaves behind when it fails, is killed, or runs out of disk: the old state, or a way to order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ferryman_agent.core.messages import FileExistsBehavior, Instant
from ferryman_agent.errors import InstallError
from ferryman_agent.files.install import _Install, install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from ferryman_agent.files.tree import Folders
from ferryman_agent.files.undo import InPlace, Row, take_back
from tests.support.bundles import GROUP, description, put_archive, tree
from tests.support.small_disk import small_disk

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

CALLS = ("rename", "link", "mkdir", "symlink", "unlink", "rmdir", "utime", "fchmod", "write", "open", "fsync")
"""All that changes the disk, and what opens it."""

OLD: dict[str, bytes | str] = {
    "same": b"same",
    "changed": b"old",
    "gone": b"1",
    "dir/x": b"2",
    "kind/y": b"3",
    "l": "same",
}
NEW: dict[str, bytes | str] = {
    "same": b"same",
    "changed": b"new",
    "dir/z": b"4",
    "kind": b"5",
    "fresh/a": b"6",
    "l": "changed",
}
FINAL: dict[str, bytes | str] = {"same": b"other", "third": b"7"}


@contextmanager
def at_call(number: int, then: Callable[[], None]) -> Iterator[list[str]]:
    """Does something in the place of the system call that is the `number`th, counted from 1; tells the calls made."""
    made: list[str] = []
    real = {name: getattr(os, name) for name in CALLS}

    def wrap(name: str) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            made.append(name)
            if len(made) == number:
                then()
            return real[name](*args, **given)

        return call

    for name in CALLS:
        setattr(os, name, wrap(name))
    try:
        yield made
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def fail() -> None:
    raise OSError(5, "Input/output error")


def prepare(host: Host, ident: str, files: Mapping[str, bytes | str]) -> None:
    text = f"version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {host.srv}/app\n"
    content = {f"app/{name}": value for name, value in files.items()}
    put_archive(host.layout, ident, {"app/": b"", **content, "appspec.yml": text.encode()})


def run(host: Host, ident: str, **given: Any) -> None:
    _Install(description(ident, **given), host.layout, Instant(1), InstallSettings()).run()


def install_now(host: Host, ident: str, files: dict[str, bytes | str], **given: Any) -> None:
    if not host.layout.deployment(GROUP, ident).archive.exists():
        prepare(host, ident, files)
    run(host, ident, **given)


def expected(files: dict[str, bytes | str]) -> set[str]:
    names = {"app"}
    for name in files:
        parts = name.split("/")
        names |= {"/".join(["app", *parts[:count]]) for count in range(1, len(parts) + 1)}
    return names


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.req("V2-189", "AG-288", "AG-289", "AG-X02", "AG-286")
def test_whatever_fails_the_host_is_as_before_or_complete(host: Host) -> None:
    """Fails each call that the install makes, one after the other."""
    install_now(host, "d-old", OLD)
    prepare(host, "d-new", NEW)
    number, restored, completed = 0, 0, 0
    while True:
        number += 1
        before = tree(host.srv)
        with at_call(number, fail) as made:
            try:
                run(host, "d-new")
                error = None
            except InstallError as problem:
                error = problem
        if len(made) < number:
            break
        if tree(host.srv) == before and error is not None:
            restored += 1
        else:
            # Past the point of no return: the new revision is in place, whatever of the old one is still there.
            completed += 1
            assert expected(NEW) <= host.names(), (number, made[-1])
            assert (host.srv / "app/changed").read_bytes() == b"new"
        # Order is restored by the next install, whichever it is.
        install_now(host, "d-old", OLD)
        assert host.names() == expected(OLD), (number, made[-1])
        assert (host.srv / "app/changed").read_bytes() == b"old"
    assert restored > 30
    assert completed > 3


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.req("AG-T44", "AG-288", "V2-188", "AG-163", "AG-161")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_whenever_it_is_killed_the_next_install_puts_everything_in_order(host: Host) -> None:
    install_now(host, "d-old", OLD)
    (host.srv / "app/foreign").write_bytes(b"foreign")
    prepare(host, "d-new", NEW)
    number = 0
    while True:
        number += 1
        child = os.fork()
        if child == 0:
            with at_call(number, lambda: os._exit(9)):
                run(host, "d-new")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            break
        assert os.waitstatus_to_exitcode(status) == 9
        install_now(host, "d-final", FINAL)
        assert host.names() == expected(FINAL) | {"app/foreign"}, number
        assert (host.srv / "app/same").read_bytes() == b"other"
        assert (host.srv / "app/foreign").read_bytes() == b"foreign"
        assert sorted(host.journal()) == ["SRV/app", "SRV/app/same", "SRV/app/third"]
        assert not host.layout.install_mark(GROUP).exists()
        install_now(host, "d-old", OLD)
    assert number > 40


@pytest.mark.req("AG-336", "V2-183")
def test_what_cannot_be_removed_is_reported_the_rest_goes_and_it_is_tried_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_now(host, "d-old", {"a": b"1", "b": b"2", "c": b"3"})
    real = os.unlink

    def stubborn(path: Any, **given: Any) -> None:
        if path == "b":
            raise PermissionError(1, "Operation not permitted", path)
        real(path, **given)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", stubborn)
        with pytest.raises(InstallError) as failed:
            install_now(host, "d-new", {"d": b"4"})
    assert failed.value.detail_code == "INSTALL_CLEANUP"
    assert f"{host.srv}/app/b: Operation not permitted" in failed.value.message
    assert host.names() == {"app", "app/b", "app/d"}
    assert "SRV/app/b" in host.journal()
    assert host.layout.last_successful(GROUP) == host.layout.deployment(GROUP, "d-old").path
    install_now(host, "d-new", {"d": b"4"})
    assert host.names() == {"app", "app/d"}


@pytest.mark.req("AG-290", "AG-291")
@pytest.mark.parametrize("behavior", list(FileExistsBehavior))
def test_a_file_that_appears_during_the_install_is_treated_by_the_behavior(
    host: Host, behavior: FileExistsBehavior, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def appear(descriptor: int) -> None:
        if (host.srv / "app").is_dir() and not (host.srv / "app/a").exists():
            (host.srv / "app/a").write_bytes(b"foreign")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", appear)
    if behavior is FileExistsBehavior.DISALLOW:
        with pytest.raises(InstallError, match="appeared") as failed:
            install_now(host, "d-1", {"a": b"ours", "b": b"2"}, file_exists_behavior=behavior)
        assert "cannot restore" in failed.value.message
        assert host.names() == {"app", "app/a"}
    else:
        install_now(host, "d-1", {"a": b"ours", "b": b"2"}, file_exists_behavior=behavior)
        assert ("SRV/app/a" in host.journal()) is (behavior is FileExistsBehavior.OVERWRITE)
    kept = b"ours" if behavior is FileExistsBehavior.OVERWRITE else b"foreign"
    assert (host.srv / "app/a").read_bytes() == kept


@pytest.mark.req("V2-188", "AG-332", "AG-X28")
@pytest.mark.parametrize("is_exchanged", [False, True])
def test_a_file_of_a_killed_install_goes_and_one_in_an_exchanged_directory_stays(
    host: Host, is_exchanged: bool
) -> None:
    """The install was killed while it filled a new directory; its owner may have put another one there since."""
    app = host.srv / "app"
    app.mkdir()
    status = app.stat()
    if is_exchanged:
        app.rename(host.srv / "elsewhere")
        app.mkdir()
    (app / "a").write_bytes(b"1")
    rows: list[Row] = [
        InPlace(f"{app}/{name}", f"{app}/{name}", status.st_dev, status.st_ino) for name in "ab"
    ]
    with Folders.below("/") as folders:
        assert take_back(folders, rows) == ([], [])
    assert (app / "a").exists() is is_exchanged


@pytest.mark.req("V2-125", "V2-215", "AG-312")
def test_a_directory_swapped_for_a_link_during_the_install_is_not_followed(
    host: Host, tmp_path: Path
) -> None:
    """The attacker owns a directory on the way and is faster than the agent."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (host.srv / "app").mkdir()

    def swap() -> None:
        if (host.srv / "app").is_dir() and not (host.srv / "app").is_symlink():
            (host.srv / "app").rename(host.srv / "moved")
            (host.srv / "app").symlink_to(outside)

    prepare(host, "d-1", {"passwd": b"evil"})
    refused = 0
    for number in range(1, 40):
        with at_call(number, swap):
            try:
                run(host, "d-1")
            except InstallError:
                refused += 1
        swapped = (host.srv / "app").is_symlink()
        if swapped:
            (host.srv / "app").unlink()
            shutil.rmtree(host.srv / "moved")
            (host.srv / "app").mkdir()
        host.layout.cleanup_journal(GROUP).unlink(missing_ok=True)
        host.layout.install_mark(GROUP).unlink(missing_ok=True)
        shutil.rmtree(host.srv / "app")
        (host.srv / "app").mkdir()
        # Before the plan is made the link is the administrator's; from then on it is an attack.
        for leaked in os.listdir(outside):
            assert number < 12, (number, leaked)
            (outside / leaked).unlink()
    assert refused > 0


@pytest.mark.req("AG-215", "V2-074")
async def test_a_plan_that_does_not_fit_is_refused_with_both_figures(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    layout.prepare()
    with small_disk(tmp_path / "disk", 1024 * 1024) as disk:
        text = f"version: 0.0\nos: linux\nfiles:\n  - source: big\n    destination: {disk}/app\n"
        put_archive(
            layout, "d-1", {"big/a": b"x" * 900_000, "big/b": b"y" * 900_000, "appspec.yml": text.encode()}
        )
        with pytest.raises(InstallError) as failed:
            await install(description("d-1"), layout=layout, now=Instant(0))
        assert failed.value.detail_code == "INSTALL_DISK_FULL"
        assert str(2 * 901_120) in failed.value.message
        assert str(1024 * 1024) in failed.value.message
        assert os.listdir(disk) == []


@pytest.mark.req("AG-215", "V2-189", "V2-074")
async def test_a_disk_that_fills_up_on_the_way_leaves_the_old_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if somebody else had used the room after the plan was made.
    monkeypatch.setattr("ferryman_agent.files.install.require_room", lambda *_: None)
    layout = Layout(tmp_path / "root")
    layout.prepare()
    with small_disk(tmp_path / "disk", 1024 * 1024) as disk:
        for ident, files in (
            ("d-1", {"a": b"old"}),
            ("d-2", {"a": b"new", "b": b"x" * 600_000, "c": b"y" * 600_000}),
        ):
            text = f"version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {disk}/app\n"
            put_archive(
                layout, ident, {**{f"app/{n}": c for n, c in files.items()}, "appspec.yml": text.encode()}
            )
        await install(description("d-1"), layout=layout, now=Instant(0))
        before = tree(disk)
        with pytest.raises(InstallError) as failed:
            await install(description("d-2"), layout=layout, now=Instant(0))
        assert failed.value.detail_code == "INSTALL_DISK_FULL"
        assert tree(disk) == before


def when_journaled(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Does something between the plan and the first change: when the journal is forced to the disk."""
    real = os.fsync
    done: list[int] = []

    def forced(descriptor: int) -> None:
        if not done and os.readlink(f"/proc/self/fd/{descriptor}").endswith("-cleanup"):
            done.append(1)
            then()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", forced)


@pytest.mark.req("AG-290")
def test_a_directory_that_appears_during_the_install_is_used_and_not_ours(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    when_journaled(monkeypatch, lambda: (host.srv / "app").mkdir())
    install_now(host, "d-1", {"a": b"1"})
    assert host.journal() == ["SRV/app/a"]
    install_now(host, "d-2", {})
    assert host.names() == {"app"}


@pytest.mark.req("AG-290", "V2-200")
def test_a_file_that_appears_where_a_directory_is_needed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    when_journaled(monkeypatch, lambda: (host.srv / "app").write_bytes(b"foreign"))
    with pytest.raises(InstallError) as failed:
        install_now(host, "d-1", {"a": b"1"})
    assert failed.value.detail_code == "INSTALL_IO"
    assert (host.srv / "app").read_bytes() == b"foreign"
    assert host.journal() == []


@pytest.mark.req("AG-290")
def test_a_directory_that_appears_where_a_file_is_needed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.srv / "app").mkdir()
    when_journaled(monkeypatch, lambda: (host.srv / "app/a").mkdir())
    with pytest.raises(InstallError, match="became a directory"):
        install_now(host, "d-1", {"a": b"1"}, file_exists_behavior=FileExistsBehavior.OVERWRITE)
    assert host.names() == {"app", "app/a"}


@pytest.mark.req("AG-293")
@pytest.mark.parametrize("fast", [True, False])
def test_large_files_are_copied_with_and_without_the_kernels_help(
    host: Host, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    if not fast:

        def refuse(*args: Any, **given: Any) -> int:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", refuse)
    content = os.urandom(3_000_001)
    install_now(host, "d-1", {"big": content})
    assert (host.srv / "app/big").read_bytes() == content


def test_an_archive_that_changes_during_the_install_is_noticed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(host, "d-1", {"a": b"1"})
    archive = host.layout.deployment(GROUP, "d-1").archive
    when_journaled(monkeypatch, lambda: (archive / "app/a").write_bytes(b"longer"))
    with pytest.raises(InstallError) as failed:
        run(host, "d-1")
    assert failed.value.detail_code == "INSTALL_ARCHIVE_CHANGED"
    assert host.names() == set()


@pytest.mark.req("AG-312", "V2-199")
def test_without_hard_links_the_swap_still_works_and_is_taken_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **given: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    install_now(host, "d-old", OLD)
    install_now(host, "d-new", NEW)
    assert host.names() == expected(NEW)
    before = tree(host.srv)
    (host.srv / "app/kept").write_bytes(b"foreign")
    with pytest.raises(InstallError):
        install_now(host, "d-3", {"changed": b"third", "kept": b"mine"})
    (host.srv / "app/kept").unlink()
    assert tree(host.srv) == before
    prepare(host, "d-4", {"changed": b"fourth", "new": b"5", "same": b"6"})
    number = 0
    while True:
        number += 1
        with at_call(number, fail) as made:
            try:
                run(host, "d-4")
            except InstallError as problem:
                # Past the point of no return other texts are given.
                is_restored = problem.detail_code == "INSTALL_IO"
            else:
                is_restored = False
        if len(made) < number:
            break
        if is_restored:
            assert tree(host.srv) == before, number
        run(host, "d-new")
        assert tree(host.srv) == before, number
