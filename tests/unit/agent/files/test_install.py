"""Installing for real, below a temporary directory."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferryman_agent.core.messages import FileExistsBehavior, Instant
from ferryman_agent.errors import InstallError
from ferryman_agent.files.install import install
from tests.support.bundles import GROUP, description

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

OVERWRITE, RETAIN = FileExistsBehavior.OVERWRITE, FileExistsBehavior.RETAIN
NOTHING = "files: []\n"


@pytest.mark.req("AG-294", "AG-295", "AG-296", "AG-T31", "AG-285")
async def test_files_go_where_the_appspec_says(host: Host) -> None:
    report = await host.install(
        {"conf/a.ini": b"1", "bin/run": b"2", "bin/.hidden": b"3", "bin/empty/": b"", "x": b"4"},
        "files:\n  - {source: conf/a.ini, destination: SRV/app/conf}\n"
        "  - {source: /bin/, destination: SRV/app/tools}\n",
    )
    assert host.names() == {
        "app", "app/conf", "app/conf/a.ini", "app/tools", "app/tools/run", "app/tools/.hidden", "app/tools/empty",
    }  # fmt: skip
    assert (host.srv / "app/tools/run").read_bytes() == b"2"
    assert (report.written, report.kept, report.removed) == (3, 0, 0)


@pytest.mark.req("AG-160", "AG-161", "AG-165", "AG-198", "V2-201", "V2-202")
async def test_journal_and_pointer(host: Host) -> None:
    await host.install({"d/f": b"1"}, "files:\n  - {source: d, destination: SRV/x/y}\n")
    assert host.journal() == ["SRV/x", "SRV/x/y", "SRV/x/y/f"]
    assert host.layout.last_successful(GROUP) == host.layout.deployment(GROUP, "d-1").path
    assert not host.layout.install_mark(GROUP).exists()
    assert stat.S_IMODE(host.layout.cleanup_journal(GROUP).stat().st_mode) == 0o600


@pytest.mark.req("AG-156", "AG-157", "AG-158")
async def test_install_json_has_every_instruction_of_the_latest_attempt(host: Host) -> None:
    await host.install(
        {"d/f": b"1"},
        "files:\n  - {source: d, destination: SRV/x}\npermissions:\n  - {object: SRV/x, mode: 600, type: [file]}\n",
    )
    rows = json.loads(host.layout.install_json(GROUP).read_bytes())["instructions"]
    archive = host.layout.deployment(GROUP, "d-1").archive
    assert rows == [
        {"type": "mkdir", "directory": str(host.srv / "x")},
        {"type": "copy", "source": str(archive / "d/f"), "destination": str(host.srv / "x/f"), "size": 1},
        {"type": "chmod", "mode": "0600", "file": str(host.srv / "x/f")},
    ]


@pytest.mark.req("AG-308", "AG-309", "AG-C12", "AG-318")
async def test_modes_and_times_are_kept_whatever_the_umask(host: Host) -> None:
    def prepare(archive: Path) -> None:
        (archive / "d/f").chmod(0o751)
        os.utime(archive / "d/f", ns=(10**18 + 5, 10**18 + 7))
        (archive / "d").chmod(0o705)

    before = os.umask(0o077)
    try:
        await host.install({"d/f": b"1"}, "files:\n  - {source: d, destination: SRV/x/y}\n", prepare=prepare)
    finally:
        os.umask(before)
    status = (host.srv / "x/y/f").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o751, 10**18 + 7)
    assert stat.S_IMODE((host.srv / "x/y").stat().st_mode) == 0o705
    assert stat.S_IMODE((host.srv / "x").stat().st_mode) == 0o755


@pytest.mark.req("AG-310", "AG-311", "AG-T41", "AG-X17", "V2-198", "V2-193")
async def test_links_are_recreated_as_they_are(host: Host) -> None:
    links = {"to-file": "f", "to-dir": "sub", "dangling": "nowhere", "loop": "loop", "sub/up": "../sub"}
    await host.install({"f": b"1", "sub/x": b"2", **links})
    for name, target in links.items():
        assert os.readlink(host.srv / "app" / name) == target
    assert host.names() >= {"app/sub/x", "app/to-dir"}


# The next revision


@pytest.mark.req("AG-321", "AG-327", "AG-330", "AG-334", "AG-C06", "CP-346")
async def test_what_the_next_revision_does_not_want_is_removed(host: Host) -> None:
    await host.install({"a": b"1", "old/x": b"2", "old/deep/y": b"3"})
    report = await host.install({"a": b"changed", "new/z": b"4"})
    assert host.names() == {"app", "app/a", "app/appspec.yml", "app/new", "app/new/z"}
    assert (host.srv / "app/a").read_bytes() == b"changed"
    assert report.removed == 4


@pytest.mark.req("AG-308", "AG-167")
async def test_unchanged_files_are_left_alone_and_stay_ours(host: Host) -> None:
    def same_time(archive: Path) -> None:
        for path in (archive / "a", archive / "b"):
            os.utime(path, ns=(10**18, 10**18))

    await host.install({"a": b"same", "b": b"before"}, prepare=same_time)
    inode = (host.srv / "app/a").stat().st_ino
    report = await host.install({"a": b"same", "b": b"after!"}, prepare=same_time)
    assert (host.srv / "app/a").stat().st_ino == inode
    assert (host.srv / "app/b").read_bytes() == b"after!"
    assert report.kept == 1
    assert "SRV/app/a" in host.journal()
    await host.install({}, NOTHING)
    assert host.names() == set()


async def test_the_same_content_with_another_mode_is_corrected_in_place(host: Host) -> None:
    await host.install({"a": b"same"}, prepare=lambda archive: (archive / "a").chmod(0o600))
    inode = (host.srv / "app/a").stat().st_ino
    report = await host.install({"a": b"same"}, prepare=lambda archive: (archive / "a").chmod(0o755))
    status = (host.srv / "app/a").stat()
    assert (status.st_ino, stat.S_IMODE(status.st_mode)) == (inode, 0o755)
    assert report.corrected >= 1


async def test_a_changed_file_of_the_same_size_and_time_is_noticed(host: Host) -> None:
    def same_time(archive: Path) -> None:
        os.utime(archive / "a", ns=(10**18, 10**18))

    await host.install({"a": b"one"}, prepare=same_time)
    await host.install({"a": b"two"}, prepare=same_time)
    assert (host.srv / "app/a").read_bytes() == b"two"
    (host.srv / "app/a").write_bytes(b"odd")
    os.utime(host.srv / "app/a", ns=(10**18, 10**18))
    await host.install({"a": b"two"}, prepare=same_time)
    assert (host.srv / "app/a").read_bytes() == b"two"


@pytest.mark.req("AG-333")
@pytest.mark.parametrize("by_hand", [b"2" * 100, b"another size"])
async def test_files_that_somebody_changed_are_replaced_and_mentioned(host: Host, by_hand: bytes) -> None:
    await host.install({"a": b"1" * 100, "b": b"2"})
    (host.srv / "app/a").write_bytes(by_hand)
    report = await host.install({"a": b"3" * 100, "b": b"2"})
    assert (host.srv / "app/a").read_bytes() == b"3" * 100
    assert report.warnings == (f"1 installed files had been changed by somebody since: {host.srv}/app/a",)


@pytest.mark.req("AG-327", "AG-T25", "AG-T32", "AG-303")
async def test_a_revision_without_files_removes_everything(host: Host) -> None:
    await host.install({"d/f": b"1"}, "files:\n  - {source: d, destination: SRV/x/y/z}\n")
    assert host.names() == {"x", "x/y", "x/y/z", "x/y/z/f"}
    report = await host.install({}, NOTHING)
    assert host.names() == set()
    assert host.journal() == []
    assert report.removed == 4


@pytest.mark.req("AG-168", "AG-H18", "AG-X27", "AG-T33", "AG-334", "AG-165", "AG-322", "CP-346")
async def test_a_directory_that_others_use_is_removed_once_it_is_empty(host: Host) -> None:
    files = "files:\n  - {source: d, destination: SRV/x/y}\n"
    await host.install({"d/f": b"1"}, files)
    (host.srv / "x/y/foreign").write_bytes(b"not ours")
    await host.install({}, NOTHING)
    assert host.names() == {"x", "x/y", "x/y/foreign"}
    assert host.journal() == ["SRV/x", "SRV/x/y"]
    await host.install({"d/f": b"1"}, files)
    await host.install({}, NOTHING)
    assert host.names() == {"x", "x/y", "x/y/foreign"}
    (host.srv / "x/y/foreign").unlink()
    await host.install({}, NOTHING)
    assert host.names() == set()


@pytest.mark.req("AG-331", "AG-332", "AG-335", "V2-187")
async def test_removal_takes_things_as_they_are_now(host: Host, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_bytes(b"1")
    await host.install({"gone": b"1", "file": b"2", "dir/x": b"3", "link": "file", "odd /x": b"4"})
    app = host.srv / "app"
    (app / "gone").unlink()
    (app / "file").unlink()
    (app / "file").mkdir()
    (app / "dir/x").unlink()
    (app / "dir").rmdir()
    (app / "dir").symlink_to(precious)
    (app / "link").unlink()
    (app / "link").symlink_to("dangling")
    await host.install({}, NOTHING)
    assert host.names() == set()
    assert (precious / "x").exists()


@pytest.mark.req("AG-335", "AG-316")
async def test_files_become_directories_and_directories_files(host: Host) -> None:
    await host.install({"a": b"1", "b/x": b"2", "b/deep/y": b"3", "l": "a"})
    await host.install({"a/x": b"4", "b": b"5", "l/z": b"6"})
    assert host.names() == {"app", "app/appspec.yml", "app/a", "app/a/x", "app/b", "app/l", "app/l/z"}
    await host.install({"a": b"1", "b/x": b"2", "l": "a"})
    assert host.names() == {"app", "app/appspec.yml", "app/a", "app/b", "app/b/x", "app/l"}
    await host.install({}, NOTHING)
    assert host.names() == set()


@contextmanager
def running(program: Path, argument: str) -> Iterator[None]:
    with subprocess.Popen([program, argument]) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.req("AG-316", "AG-X53", "AG-315", "V2-199")
async def test_a_running_program_can_be_replaced(host: Host) -> None:
    program = Path("/bin/sleep").read_bytes()
    await host.install({"run": program}, prepare=lambda archive: (archive / "run").chmod(0o755))
    with running(host.srv / "app/run", "60"):
        await host.install({"run": b"#!/bin/sh\n"}, prepare=lambda archive: (archive / "run").chmod(0o755))
        assert (host.srv / "app/run").read_bytes() == b"#!/bin/sh\n"


@pytest.mark.req("AG-315", "V2-199")
async def test_a_reader_of_the_old_file_goes_on_reading_it(host: Host) -> None:
    await host.install({"a": b"old content"})
    with (host.srv / "app/a").open("rb") as file:
        await host.install({"a": b"new"})
        assert file.read() == b"old content"
    assert not [name for name in host.names() if "ferryman" in name]


# Files of others


@pytest.mark.req("AG-319", "AG-324", "AG-T34", "AG-H27", "AG-X01", "AG-286", "V2-195", "V2-390", "AG-S03")
async def test_a_conflict_lists_everything_and_changes_nothing(host: Host) -> None:
    await host.install({"old": b"1"})
    (host.srv / "app/one").write_bytes(b"foreign")
    (host.srv / "app/two").symlink_to("nowhere")
    error = await host.refused({"one": b"1", "two": b"2", "three": b"3"})
    assert error.detail_code == "FILES_CONFLICT"
    assert error.message.startswith("The deployment failed because 2 files")
    assert f"{host.srv}/app/one (file, of unknown origin)" in error.message
    assert f"{host.srv}/app/two (link, of unknown origin)" in error.message
    assert (host.srv / "app/old").read_bytes() == b"1"


@pytest.mark.req("AG-324")
async def test_of_many_conflicts_fifty_are_listed_and_all_counted(host: Host) -> None:
    (host.srv / "app").mkdir()
    for number in range(60):
        (host.srv / f"app/{number:02}").touch()
    error = await host.refused({f"{number:02}": b"1" for number in range(60)})
    assert "60 files" in error.message
    assert "and 10 more" in error.message
    assert error.message.count("of unknown origin") == 50


@pytest.mark.req("AG-324", "AG-325", "AG-T43")
async def test_a_conflict_names_the_group_that_placed_the_file(host: Host) -> None:
    await host.install({"a": b"1"}, group="group-2")
    error = await host.refused({"a": b"2"})
    assert "installed by deployment group group-2" in error.message


@pytest.mark.req("AG-167", "AG-T36", "V2-196", "AG-H27")
async def test_overwrite_replaces_journals_and_later_removes(host: Host) -> None:
    (host.srv / "app").mkdir()
    (host.srv / "app/a").write_bytes(b"foreign")
    await host.install({"a": b"ours"}, file_exists_behavior=OVERWRITE)
    assert (host.srv / "app/a").read_bytes() == b"ours"
    assert "SRV/app/a" in host.journal()
    await host.install({}, NOTHING)
    assert host.names() == {"app"}


@pytest.mark.req("AG-166", "AG-T35", "AG-C07", "V2-196", "AG-341")
async def test_retain_keeps_for_good(host: Host) -> None:
    (host.srv / "app").mkdir()
    (host.srv / "app/a").write_bytes(b"foreign")
    report = await host.install({"a": b"ours", "b": b"new"}, file_exists_behavior=RETAIN)
    assert (host.srv / "app/a").read_bytes() == b"foreign"
    assert report.retained == (str(host.srv / "app/a"),)
    assert "SRV/app/a" not in host.journal()
    await host.install({}, NOTHING)
    assert host.names() == {"app", "app/a"}


@pytest.mark.req("AG-312", "AG-T39", "AG-X16", "AG-X15", "V2-197", "AG-313")
async def test_overwrite_replaces_a_link_and_not_what_it_leads_to(host: Host, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (host.srv / "app").mkdir()
    (host.srv / "app/a").symlink_to(precious)
    (host.srv / "app/l").symlink_to(precious)
    await host.install({"a": b"ours", "l": "a"}, file_exists_behavior=OVERWRITE)
    assert precious.read_bytes() == b"precious"
    assert not (host.srv / "app/a").is_symlink()
    assert os.readlink(host.srv / "app/l") == "a"


@pytest.mark.req("AG-T40", "AG-X15", "AG-312")
async def test_nothing_is_created_through_a_dangling_link(host: Host, tmp_path: Path) -> None:
    (host.srv / "app").mkdir()
    (host.srv / "app/a").symlink_to(tmp_path / "created")
    await host.refused({"a": b"ours"})
    assert not (tmp_path / "created").exists()


@pytest.mark.req("AG-281", "AG-T37", "AG-H27")
async def test_the_appspecs_behavior_wins(host: Host) -> None:
    (host.srv / "app").mkdir()
    (host.srv / "app/a").write_bytes(b"foreign")
    text = "file_exists_behavior: RETAIN\nfiles:\n  - {source: a, destination: SRV/app}\n"
    await host.install({"a": b"ours"}, text, file_exists_behavior=OVERWRITE)
    assert (host.srv / "app/a").read_bytes() == b"foreign"


# Mistakes


@pytest.mark.req(
    "AG-T42",
    "AG-X21",
    "AG-X20",
    "AG-286",
    "AG-V12",
    "AG-V11",
    "AG-V13",
    "AG-V14",
    "AG-307",
    "AG-284",
    "V2-191",
)
@pytest.mark.parametrize(
    "appspec, code",
    [
        ("files:\n  - {source: missing, destination: SRV/app}\n", "FILES_SOURCE_NOT_FOUND"),
        ("files:\n  - {source: ../../etc/hostname, destination: SRV/app}\n", "FILES_SOURCE_ESCAPES"),
        ("files:\n  - {source: a, destination: rel/dir}\n", "FILES_DESTINATION_RELATIVE"),
        (
            "files:\n  - {source: a, destination: SRV}\n  - {source: d/a, destination: SRV}\n",
            "FILES_DUPLICATE_DESTINATION",
        ),
        ("files:\n  - {source: a, destination: SRV/blocker/deep}\n", "FILES_PARENT_NOT_DIRECTORY"),
        ("files:\n  - {source: a, destination: SRV/../agent/root/x}\n", "FILES_DESTINATION_IN_ROOT"),
        ("file_exists_behavior: BANANA\n", "FILE_EXISTS_BEHAVIOR"),
        ("files:\n  - {source: link/x, destination: SRV/app}\n", "FILES_SOURCE_NOT_FOUND"),
        ("permissions:\n  - {object: SRV, owner: no-such-user-here}\n", "PERM_OWNER_UNKNOWN"),
    ],
)
async def test_a_mistake_is_named_and_the_host_untouched(host: Host, appspec: str, code: str) -> None:
    await host.install({"old": b"1"}, "files:\n  - {source: old, destination: SRV/app}\n")
    (host.srv / "blocker").write_bytes(b"foreign")
    error = await host.refused({"a": b"1", "d/a": b"2", "link": "/etc"}, appspec)
    assert error.detail_code == code
    assert error.message.startswith("The deployment failed because")
    assert "appspec.yml:" in error.message


@pytest.mark.req("AG-314", "V2-113")
async def test_a_fifo_in_the_archive_is_refused(host: Host) -> None:
    error = await host.refused({"a": b"1"}, prepare=lambda archive: os.mkfifo(archive / "pipe"))
    assert error.detail_code == "FILES_SPECIAL"


@pytest.mark.req("AG-264", "AG-255")
async def test_without_an_appspec_the_message_says_where_it_was_looked_for(host: Host) -> None:
    def move(archive: Path) -> None:
        (archive / "deep").mkdir()
        (archive / "appspec.yml").rename(archive / "deep" / "appspec.yml")

    error = await host.refused({}, prepare=move)
    archive = host.layout.deployment(GROUP, "d-1").archive
    assert error.detail_code == "APPSPEC_MISSING"
    assert str(archive / "appspec.yml") in error.message
    assert "deep/appspec.yml" in error.message


@pytest.mark.req("AG-264")
async def test_an_appspec_that_is_a_link_is_no_appspec(host: Host) -> None:
    def move(archive: Path) -> None:
        (archive / "appspec.yml").rename(archive / "real.yml")
        (archive / "appspec.yml").symlink_to("real.yml")

    error = await host.refused({}, prepare=move)
    assert error.detail_code == "APPSPEC_MISSING"
    assert "no plain file" in error.message


async def test_without_an_archive_there_is_a_clear_message(host: Host) -> None:
    with pytest.raises(InstallError, match="DownloadBundle"):
        await install(description("d-9"), layout=host.layout, now=Instant(0))


@pytest.mark.req("AG-259", "AG-164", "AG-X29", "V2-115", "AG-X19")
async def test_names_of_any_bytes_are_installed_and_removed(host: Host) -> None:
    odd = [os.fsdecode(b"caf\xe9"), "new\nline", " blanks ", "ümlaut", '"quote']
    await host.install(dict.fromkeys(odd, b"1"))
    assert {os.fsdecode(name) for name in os.listdir(os.fsencode(host.srv / "app"))} == {*odd, "appspec.yml"}
    await host.install({}, NOTHING)
    assert host.names() == set()


@pytest.mark.req("AG-290")
async def test_a_parent_that_is_a_link_of_the_administrator_is_used(host: Host, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (host.srv / "app").symlink_to(tmp_path / "data")
    await host.install({"a": b"1", "d/b": b"2"})
    assert (tmp_path / "data/d/b").read_bytes() == b"2"
    assert (host.srv / "app").is_symlink()
    await host.install({}, NOTHING)
    assert os.listdir(tmp_path / "data") == []
    assert (host.srv / "app").is_symlink()
