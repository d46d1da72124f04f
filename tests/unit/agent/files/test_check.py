"""Checks of real installs on a real directory: what was changed is found, and a redeployment mends it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ferryman_agent.core.drift import FileDrift, InstalledGroup
from ferryman_agent.core.messages import GroupId, Instant
from ferryman_agent.files import digests, hashing
from ferryman_agent.files.check import Abandoned, Checked, Knowledge, check_group
from ferryman_agent.files.digests import Digests, Installed, mark_of
from ferryman_agent.files.manifest import distrust, load_manifest, settle
from ferryman_agent.files.survey import sha256_at
from ferryman_agent.files.tree import Folders, walk
from tests.support.bundles import GROUP
from tests.unit.agent.files.conftest import Host

FILES: dict[str, bytes | str] = {
    "a": b"one",
    "b": b"two",
    "dir/c": b"three",
    "dir/deep/d": b"four",
    "link": "a",
}
CHECKED = 9
"""With appspec.yml, the two folders and the destination itself."""


def look(
    host: Host,
    *,
    knowledge: Knowledge | None = None,
    with_digests: bool = False,
    pace: Callable[[int], None] = lambda count: None,
    stop: threading.Event | None = None,
) -> Checked:
    checked = check_group(
        host.layout,
        GroupId(GROUP),
        knowledge=knowledge or Knowledge(),
        with_digests=with_digests,
        now=Instant(99),
        pace=pace,
        stop=stop or threading.Event(),
    )
    assert checked is not None
    return checked


def drifts(host: Host, state: InstalledGroup) -> dict[str, FileDrift]:
    return {one.path.removeprefix(f"{host.srv}/app/"): one.drift for one in state.drifted}


async def put(host: Host, *given: str) -> None:
    """Installs a revision, with the record of its archive as DownloadBundle leaves it."""

    def note(archive: Path) -> None:
        digests = Digests()
        with Folders.below(archive) as folders:
            for path, status in walk(folders):
                if stat.S_ISREG(status.st_mode):
                    digests.remember(path, mark_of(status), sha256_at(folders, path))
        digests.save(archive.parent / ".archive-digests")

    await host.install(FILES, *given, prepare=note)


def rewrite_marks(host: Host) -> None:
    """Makes the record say of every file that it had today's mark when it was installed."""
    path = host.layout.installed_digests(GROUP)
    rows = []
    for row in load_manifest(path):
        status = os.lstat(row.path)
        mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        fields = dict(zip(("inode", "size", "modified_ns", "changed_ns"), mark, strict=True))
        rows.append(msgspec.structs.replace(row, **fields))
    path.write_bytes(msgspec.json.encode(rows))


@pytest.mark.req("AG-548", "AG-550")
async def test_nothing_has_changed_right_after_an_install(host: Host) -> None:
    await put(host)
    state = look(host).state
    assert state == InstalledGroup(
        group_id=GroupId(GROUP),
        deployment_id="d-1",
        files_checked=CHECKED,
        checked_at=Instant(99),
        archive_whole=True,
        bundle_whole=True,
    )
    assert look(host, with_digests=True).state.files_drifted == 0


@pytest.mark.req("AG-550", "AG-557")
async def test_each_change_is_found_and_mended(host: Host) -> None:
    await put(host)
    app = host.srv / "app"
    before = host.content()
    (app / "a").write_text("ONE")
    (app / "b").unlink()
    (app / "dir/c").chmod(0o600)
    (app / "dir/deep/d").unlink()
    (app / "dir/deep/d").symlink_to("/etc/hostname")
    (app / "dir/deep").chmod(0o700)
    (app / "appspec.yml").touch()
    state = look(host).state
    assert drifts(host, state) == {
        "a": FileDrift.CONTENT,
        "b": FileDrift.MISSING,
        "dir/c": FileDrift.ATTRIBUTES,
        "dir/deep": FileDrift.ATTRIBUTES,
        "dir/deep/d": FileDrift.KIND,
    }
    assert state.files_drifted == 5
    assert [one.path for one in state.drifted] == sorted(one.path for one in state.drifted)
    await put(host)
    assert host.content() == before
    after = look(host).state
    assert (after.deployment_id, after.files_drifted) == ("d-2", 0)


@pytest.mark.req("AG-551")
async def test_a_folder_that_became_a_link_is_not_entered(host: Host, tmp_path: Path) -> None:
    await put(host)
    app = host.srv / "app"
    os.rename(app / "dir", tmp_path / "moved")
    (app / "dir").symlink_to(tmp_path / "moved")
    before = sorted(os.listdir(tmp_path / "moved"))
    state = look(host, with_digests=True).state
    assert drifts(host, state) == {
        "dir": FileDrift.KIND,
        "dir/c": FileDrift.MISSING,
        "dir/deep": FileDrift.MISSING,
        "dir/deep/d": FileDrift.MISSING,
    }
    assert state.error == ""
    assert sorted(os.listdir(tmp_path / "moved")) == before


@pytest.mark.req("AG-551")
async def test_a_folder_of_the_operators_that_is_a_link_is_where_it_was_installed(
    host: Host, tmp_path: Path
) -> None:
    real = tmp_path / "data"
    real.mkdir()
    (host.srv / "app").symlink_to(real)
    await put(host)
    assert look(host).state.files_drifted == 0
    (real / "a").write_text("changed")
    assert drifts(host, look(host).state) == {"a": FileDrift.CONTENT}


@pytest.mark.req("AG-549", "AG-550")
async def test_the_same_size_and_a_time_put_back_hide_nothing(host: Host) -> None:
    await put(host)
    rewrite_marks(host)
    path = host.srv / "app/a"
    status = path.stat()
    path.write_text("ONE")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert drifts(host, look(host).state) == {"a": FileDrift.CONTENT}


@pytest.mark.req("AG-549", "AG-557")
async def test_what_changed_behind_the_back_of_stat_is_found_by_its_content_and_mended(host: Host) -> None:
    """As a disk does that loses a bit, or a clock that was set back."""
    await put(host)
    path = host.srv / "app/a"
    times = path.stat().st_mtime_ns
    path.write_text("ONE")
    os.utime(path, ns=(times, times))
    rewrite_marks(host)
    assert look(host).state.files_drifted == 0
    checked = look(host, with_digests=True)
    assert drifts(host, checked.state) == {"a": FileDrift.CONTENT}
    assert checked.lying == {str(path)}
    # A look by `stat` that follows knows it still, and so does the next process.
    assert drifts(host, look(host, knowledge=checked.knowledge).state) == {"a": FileDrift.CONTENT}
    distrust(host.layout, GroupId(GROUP), checked.lying)
    assert drifts(host, look(host).state) == {"a": FileDrift.CONTENT}
    await put(host)
    assert path.read_text() == "one"
    assert look(host, with_digests=True).state.files_drifted == 0
    assert not host.layout.distrusted(GROUP).exists()


@pytest.mark.req("AG-549")
async def test_a_file_that_was_only_touched_is_read_once(host: Host) -> None:
    await put(host)
    rewrite_marks(host)
    before = look(host).knowledge
    os.utime(host.srv / "app/b")
    read: list[int] = []
    first = look(host, knowledge=before, pace=read.append)
    assert (first.state.files_drifted, read) == (0, [3])
    read.clear()
    second = look(host, knowledge=first.knowledge, pace=read.append)
    assert (second.state.files_drifted, read) == (0, [])
    assert second.knowledge.installed == first.knowledge.installed


@pytest.mark.req("AG-548")
async def test_modes_and_owners_of_the_appspec_file_are_no_drift(host: Host) -> None:
    appspec = (
        "files:\n  - source: /\n    destination: SRV/app\n"
        "permissions:\n  - object: SRV/app\n    pattern: '**'\n    mode: 600\n    type: [file]\n"
    )
    await put(host, appspec)
    assert (host.srv / "app/a").stat().st_mode & 0o777 == 0o600
    assert look(host).state.files_drifted == 0


@pytest.mark.req("AG-548")
async def test_what_is_too_much_to_read_holds_nobody_up_and_shows_as_changed(host: Host) -> None:
    """Whoever owns an installed file can make it as large as numbers go, in no time and no space."""
    await put(host)
    app = host.srv / "app"
    os.truncate(app / "a", 1 << 40)
    (app / "b").write_text("filled in by AfterInstall")
    assert settle(host.layout, GroupId(GROUP), "d-1")
    assert drifts(host, look(host).state) == {"a": FileDrift.CONTENT}


@pytest.mark.req("AG-548")
def test_a_file_that_grows_while_it_is_read_is_not_read_for_ever(tmp_path: Path) -> None:
    growing = tmp_path / "growing"
    growing.write_bytes(b"x" * 3000)
    descriptor = os.open(growing, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="more than 2000 bytes"):
            hashing.sha256_of(descriptor, 2000)
    finally:
        os.close(descriptor)


async def test_what_was_written_too_shortly_before_its_record_is_read_once_more_and_no_oftener(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_RACY_NS", 1 << 62)
    await put(host)
    path = host.layout.installed_digests(GroupId(GROUP))
    assert {row.changed_ns for row in load_manifest(path)} == {0}
    monkeypatch.setattr(digests, "_RACY_NS", -(1 << 62))
    assert not settle(host.layout, GroupId(GROUP), "d-1")
    for row in load_manifest(path):
        assert row.mark == mark_of(os.lstat(row.path))
    written = path.stat().st_mtime_ns
    assert not settle(host.layout, GroupId(GROUP), "d-1")
    assert path.stat().st_mtime_ns == written


@pytest.mark.req("AG-548")
async def test_what_the_deployments_own_scripts_do_is_no_drift(host: Host) -> None:
    await put(host)
    app = host.srv / "app"
    (app / "a").write_text("filled in by AfterInstall")
    (app / "b").unlink()
    (app / "dir/c").chmod(0o750)
    assert look(host).state.files_drifted == 3
    assert settle(host.layout, GroupId(GROUP), "d-1")
    state = look(host).state
    assert (state.files_drifted, state.files_checked) == (0, CHECKED - 1)
    # Later changes are somebody else's.
    assert not settle(host.layout, GroupId(GROUP), "d-1")
    (app / "a").write_text("changed by hand, afterwards")
    assert drifts(host, look(host).state) == {"a": FileDrift.CONTENT}
    # A deployment that has not installed anything yet settles nothing.
    assert not settle(host.layout, GroupId(GROUP), "d-2")
    assert look(host).state.files_drifted == 1
    # And the next install puts its own files in their places, whatever scripts made of them.
    await put(host)
    assert (app / "a").read_text() == "one"
    assert (app / "b").read_text() == "two"


@pytest.mark.req("AG-558")
@pytest.mark.parametrize("how", ["edited", "removed", "added", "gone", "record gone"])
async def test_an_archive_that_was_touched_is_not_whole(host: Host, how: str) -> None:
    await put(host)
    directory = host.layout.deployment(GROUP, "d-1")
    match how:
        case "edited":
            (directory.archive / "a").write_text("ONE")
        case "removed":
            (directory.archive / "dir/c").unlink()
        case "added":
            (directory.archive / "extra").write_text("x")
        case "gone":
            os.rename(directory.archive, directory.path / "elsewhere")
        case _:
            directory.archive_digests.unlink()
    state = look(host).state
    assert not state.archive_whole
    # A rollback unpacks the bundle again, wherever that is.
    assert state.bundle_whole
    assert (state.files_drifted, state.error) == (0, "")


@pytest.mark.req("AG-558")
async def test_the_bundle_as_it_was_fetched_counts_too(host: Host) -> None:
    await put(host)
    directory = host.layout.deployment(GROUP, "d-1")
    directory.bundle.write_bytes(b"the bundle")
    directory.bundle_digest.write_text(hashlib.sha256(b"the bundle").hexdigest())
    assert look(host, with_digests=True).state.archive_whole
    times = directory.bundle.stat().st_mtime_ns
    directory.bundle.write_bytes(b"THE bundle")
    os.utime(directory.bundle, ns=(times, times))
    assert look(host).state.archive_whole
    assert not look(host, with_digests=True).state.archive_whole
    assert not look(host, with_digests=True).state.bundle_whole
    directory.bundle.unlink()
    assert not look(host).state.archive_whole
    assert not look(host).state.bundle_whole


async def test_what_cannot_be_known_is_said(host: Host) -> None:
    await put(host)
    record = host.layout.installed_digests(GROUP)
    kept = record.read_bytes()
    record.write_bytes(b"{")
    assert "cannot be read" in look(host).state.error
    record.unlink()
    assert (
        look(host).state.error == "there is no record of what was installed: the next deployment writes one"
    )
    old = [list(msgspec.structs.astuple(row))[:6] for row in msgspec.json.decode(kept, type=list[Installed])]
    record.write_bytes(msgspec.json.encode(old))
    assert "older agent" in look(host).state.error
    record.write_bytes(kept)
    assert look(host).state.error == ""
    host.layout.install_mark(GROUP).touch()
    assert "did not come to its end" in look(host).state.error


@pytest.mark.req("AG-552")
async def test_it_ends_when_it_is_told_to(host: Host) -> None:
    await put(host)
    stop = threading.Event()
    read: list[int] = []

    def pace(count: int) -> None:
        read.append(count)
        stop.set()

    with pytest.raises(Abandoned):
        look(host, with_digests=True, pace=pace, stop=stop)
    assert len(read) == 1


@pytest.mark.req("AG-552")
async def test_a_local_deployment_of_the_group_is_left_alone(host: Host) -> None:
    await put(host)
    descriptor = os.open(host.layout.group_lock(GROUP), os.O_RDWR | os.O_CREAT)
    try:
        look(host)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(Abandoned):
            look(host)
    finally:
        os.close(descriptor)
    assert look(host).state.files_drifted == 0


@pytest.mark.req("AG-552")
async def test_what_was_seen_while_another_revision_came_counts_for_nothing(host: Host) -> None:
    await put(host)
    seen: list[int] = []

    def pace(count: int) -> None:
        if not seen:
            host.layout.set_last_successful(GROUP, host.layout.deployment(GROUP, "d-2").path)
        seen.append(count)

    with pytest.raises(Abandoned):
        look(host, with_digests=True, pace=pace)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
async def test_what_may_not_be_looked_at_is_named(host: Host) -> None:
    await put(host)
    (host.srv / "app/dir").chmod(0)
    try:
        state = look(host).state
    finally:
        (host.srv / "app/dir").chmod(0o755)
    assert state.error.startswith("3 files could not be looked at: ")
    assert "dir/c (Permission denied)" in state.error


def test_nothing_installed_is_nothing_to_look_at(host: Host) -> None:
    found = check_group(
        host.layout,
        GroupId("none"),
        knowledge=Knowledge(),
        with_digests=False,
        now=Instant(1),
        pace=lambda count: None,
        stop=threading.Event(),
    )
    assert found is None
    assert host.layout.installed_groups() == ()


async def test_groups_with_something_installed_are_known_by_their_pointers(host: Host) -> None:
    await put(host)
    await host.install({"x": b"1"}, "files:\n  - source: x\n    destination: SRV/other\n", group="another")
    (host.layout.instructions / "bad name_last_successful_install").write_text("/x")
    assert host.layout.installed_groups() == ("another", GROUP)
