"""Installs that are killed at every single step: the host is as before or as after, and nothing is lost.

The child process is a real one that ends itself with SIGKILL in the place of its Nth system call that changes the disk,
for every N until it survives. What then puts the host in order is what a start of the agent does.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ferryman_agent.core.messages import FileExistsBehavior, GroupId
from ferryman_agent.files.cleanup import read_journal
from ferryman_agent.files.interrupted import recover_all
from ferryman_agent.files.manifest import load_trusted
from ferryman_agent.files.originals import read_originals
from tests.support.bundles import GROUP, put_archive
from tests.unit.agent.files.test_install_failures import at_call, run

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

pytestmark = [
    pytest.mark.usefixtures("quick_disk"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

OVERWRITE, RETAIN = FileExistsBehavior.OVERWRITE, FileExistsBehavior.RETAIN
SAME = 10**18
OTHER = GroupId("group-2")

OLD: dict[str, bytes | str] = {
    "same": b"same", "moded": b"mode", "changed": b"old", "gone": b"1", "dir/x": b"2", "kind/y": b"3", "l": "same",
}  # fmt: skip
NEW: dict[str, bytes | str] = {
    "same": b"same", "moded": b"mode", "changed": b"new", "dir/z": b"4", "kind": b"5", "fresh/a": b"6", "l": "changed",
}  # fmt: skip


def prepare(
    host: Host, ident: str, files: Mapping[str, bytes | str], permissions: str = "", group: str = GROUP
) -> None:
    text = f"version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {host.srv}/app\n{permissions}"
    content = {f"app/{name}": value for name, value in files.items()}
    archive = put_archive(host.layout, ident, {"app/": b"", **content, "appspec.yml": text.encode()}, group)
    for name, value in files.items():
        if isinstance(value, bytes):
            os.utime(archive / "app" / name, ns=(SAME, SAME))


def look(path: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = Path(folder, name)
            status = entry.lstat()
            what: tuple[object, ...] = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_nlink)
            if stat.S_ISREG(status.st_mode):
                what = (*what, entry.read_bytes(), status.st_mtime_ns, os.listxattr(entry))
            elif stat.S_ISLNK(status.st_mode):
                what = (os.readlink(entry),)
            found[str(entry.relative_to(path))] = what[:2] if stat.S_ISDIR(status.st_mode) else what
    return found


def state(host: Host) -> tuple[object, ...]:
    """All that must be as before or as after: files, journals, pointer, kept originals, the other group's record."""
    layout = host.layout
    kept = [
        (one.path, (layout.group(GROUP) / one.kept).read_bytes())
        for one in read_originals(layout.originals(GROUP))
    ]
    journals = {
        group: sorted(read_journal(path, keep=True).paths)
        for group, path in layout.journals().items()
        if group != GROUP
    }
    journals[GROUP] = list(read_journal(layout.cleanup_journal(GROUP)).paths)
    record = sorted(load_trusted(layout, OTHER).rows)
    return look(host.srv), journals, layout.last_successful(GROUP), kept, record


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Does the work in a child that ends at its Nth call; says whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            with at_call(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def every_step(host: Host, work: Callable[[], object], back: Callable[[], object]) -> tuple[int, int]:
    """Kills the work at every step and sees what remains; `back` undoes it. Returns how often it was which."""
    before = state(host)
    work()
    after = state(host)
    assert after != before
    back()
    assert state(host) == before
    restored = finished = number = 0
    while True:
        number += 1
        was_killed = killed_at(number, work)
        recover_all(host.layout)
        now = state(host)
        assert now in (before, after), number
        assert not host.layout.install_mark(GROUP).exists()
        if not was_killed:
            assert now == after
            return restored, finished
        restored += now == before
        finished += now == after
        if now == after:
            back()
        else:
            work()
            assert state(host) == after, number
            back()
        assert state(host) == before, number


@pytest.mark.req("V2-188", "V2-189", "AG-163", "AG-339", "AG-X28", "AG-288", "AG-289", "AG-T44", "AG-315")
def test_a_new_revision(host: Host) -> None:
    """Files and links that stay, change, come and go; attributes, an ACL; a directory that becomes a file."""
    acl = f"permissions:\n  - {{object: {host.srv}/app/moded, mode: 640, acls: ['u:{os.geteuid()}:r']}}\n"
    prepare(host, "d-old", OLD)
    prepare(host, "d-new", NEW, acl)
    run(host, "d-old")
    (host.srv / "app/foreign").write_bytes(b"foreign")
    restored, finished = every_step(host, lambda: run(host, "d-new"), lambda: run(host, "d-old"))
    assert restored > 40
    assert finished > 5


@pytest.mark.req("CP-347", "AG-328", "AG-165", "AG-167", "V2-188")
def test_an_overwrite_of_files_of_others(host: Host) -> None:
    """Until all are in their places they are somebody else's, and afterwards each original is kept."""
    prepare(host, "d-old", {"mine": b"1"})
    prepare(host, "d-new", {"one": b"1", "two": b"2", "mine": b"2"})
    run(host, "d-old")
    foreign = {"one": 0o640, "two": 0o600}
    for name, mode in foreign.items():
        (host.srv / "app" / name).write_bytes(b"foreign " + name.encode())
        (host.srv / "app" / name).chmod(mode)

    def back() -> None:
        run(host, "d-old", deployment_creator="codeDeployRollback", last_successful_deployment_id="d-old")

    every_step(host, lambda: run(host, "d-new", file_exists_behavior=OVERWRITE), back)


@pytest.mark.req("CP-347", "AG-466")
def test_a_rollback_that_puts_originals_back(host: Host) -> None:
    prepare(host, "d-old", {"mine": b"1", "one": b"r1"})
    prepare(host, "d-new", {"one": b"1", "two": b"2"})
    (host.srv / "app").mkdir()
    for name in ("one", "two"):
        (host.srv / "app" / name).write_bytes(b"foreign " + name.encode())
    rollback: dict[str, Any] = {
        "deployment_creator": "codeDeployRollback",
        "last_successful_deployment_id": "d-old",
        "file_exists_behavior": RETAIN,
    }
    run(host, "d-old", file_exists_behavior=RETAIN)
    failing: dict[str, Any] = {"file_exists_behavior": OVERWRITE, "last_successful_deployment_id": "d-old"}
    run(host, "d-new", **failing)
    every_step(host, lambda: run(host, "d-old", **rollback), lambda: run(host, "d-new", **failing))


def two_groups(host: Host) -> tuple[Callable[[], None], Callable[[], None]]:
    """Returns a deployment that takes over files of another group and fails later, and its rollback."""
    prepare(host, "d-other", {"one": b"theirs", "two": b"theirs", "three": b"theirs"}, group=OTHER)
    run(host, "d-other", group=OTHER)
    prepare(host, "d-old", {"mine": b"1"})
    prepare(host, "d-new", {"mine": b"2", "one": b"ours", "two": b"theirs"})
    run(host, "d-old")
    good: dict[str, Any] = {"last_successful_deployment_id": "d-old"}
    return (
        lambda: run(host, "d-new", adopt=True, **good),
        lambda: run(host, "d-old", deployment_creator="codeDeployRollback", **good),
    )


@pytest.mark.req("AG-326", "AG-T43", "V2-188")
def test_an_install_that_takes_files_over(host: Host) -> None:
    """Each file is in the journal of one group and in its record, whenever it is killed."""
    take, back = two_groups(host)
    restored, finished = every_step(host, take, back)
    assert restored > 20
    assert finished > 10


@pytest.mark.req("AG-326", "V2-188")
def test_a_rollback_that_gives_files_back(host: Host) -> None:
    take, back = two_groups(host)
    take()
    restored, finished = every_step(host, back, take)
    assert restored > 10
    assert finished > 10


@pytest.mark.req("AG-326", "AG-138")
def test_files_of_an_install_that_was_killed_are_taken_over_as_it_should_have_left_them(host: Host) -> None:
    """The agent has not been started since: the adopting install puts the other group in order first."""
    prepare(host, "d-other", {"one": b"theirs", "two": b"theirs"}, group=OTHER)
    prepare(host, "d-new", {"one": b"ours"})
    prepare(host, "d-none", {})
    prepare(host, "d-bare", {}, group=OTHER)
    restored = finished = 0
    for number in range(1, 1000, 4):
        was_killed = killed_at(number, lambda: run(host, "d-other", group=OTHER))
        was_begun = bool(host.layout.interrupted_groups())
        run(host, "d-new", adopt=True)
        theirs = set(host.journal(OTHER)) - {"SRV/app"}
        assert theirs == ({"SRV/app/two"} if (host.srv / "app/two").exists() else set()), number
        assert "SRV/app/one" in host.journal(), number
        assert (host.srv / "app/one").read_bytes() == b"ours"
        assert not host.layout.interrupted_groups()
        restored += was_begun and not theirs
        finished += was_begun and bool(theirs)
        run(host, "d-none")
        run(host, "d-bare", group=OTHER)
        if not was_killed:
            break
    assert restored > 3
    assert finished > 0


@pytest.mark.req("V2-188", "AG-138")
def test_a_recovery_that_is_killed_itself_is_gone_on_with(host: Host) -> None:
    prepare(host, "d-old", OLD)
    prepare(host, "d-new", NEW)
    run(host, "d-old")
    before = state(host)
    run(host, "d-new")
    after = state(host)
    run(host, "d-old")
    is_over = False
    for number in range(20, 200, 29):
        for step in range(1, 100):
            is_over = not killed_at(number, lambda: run(host, "d-new"))
            was_killed = killed_at(step, lambda: recover_all(host.layout))
            recover_all(host.layout)
            now = state(host)
            assert now in (before, after), (number, step)
            run(host, "d-old")
            if not was_killed:
                break
        if is_over:
            return
    pytest.fail("the install never ended")


@pytest.mark.req("AG-336")
def test_what_cannot_be_taken_back_stays_the_group_s_and_does_not_stop_the_agent(host: Host) -> None:
    prepare(host, "d-new", {"sub/one": b"1"})
    number = 1
    while not (host.srv / "app/sub/one").exists():
        assert killed_at(number, lambda: run(host, "d-new"))
        if not (host.srv / "app/sub/one").exists():
            recover_all(host.layout)
        number += 1
    (host.srv / "app/sub/foreign").write_bytes(b"foreign")
    recover_all(host.layout)
    assert host.names() == {"app", "app/sub", "app/sub/foreign"}
    assert host.journal() == ["SRV/app", "SRV/app/sub"]
    (host.srv / "app/sub/foreign").unlink()
    prepare(host, "d-none", {})
    run(host, "d-none")
    assert host.names() == {"app"}
