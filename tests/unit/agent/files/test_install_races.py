"""Installs as root against a full disk at every stage, and against a user who swaps folders for links meanwhile."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman_agent.core.messages import FileExistsBehavior
from ferryman_agent.errors import InstallError
from ferryman_agent.files.interrupted import recover_all
from tests.support.small_disk import small_disk
from tests.support.users import let_others_in, temporary_user
from tests.unit.agent.files.conftest import Host
from tests.unit.agent.files.test_install_failures import run
from tests.unit.agent.files.test_install_killed import NEW, OLD, prepare, state

PAGE = 4096


def swap_for_ever(app: Path, outside: Path) -> None:
    while True:
        for name in ("sub", "sub/deep"):
            with contextlib.suppress(OSError):
                (app / name).rename(app / "elsewhere")
                (app / name).symlink_to(outside)
                (app / name).unlink()
                (app / "elsewhere").rename(app / name)
            with contextlib.suppress(OSError):
                if (app / name).is_symlink():
                    (app / name).unlink()
                (app / "elsewhere").rename(app / name)


@contextlib.contextmanager
def attacker(user: pwd.struct_passwd, app: Path, outside: Path) -> Iterator[None]:
    """A process of the user's that swaps folders of the application for links."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            swap_for_ever(app, outside)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.req("AG-215", "V2-189", "V2-074", "V2-188")
def test_a_disk_that_is_full_at_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root folder and destination are on it; as if somebody else took the room after the plan was made."""
    monkeypatch.setattr("ferryman_agent.files.install.require_room", lambda *_: None)
    with small_disk(tmp_path / "disk", 1024 * PAGE) as disk:
        host = Host(disk)
        prepare(host, "d-old", OLD)
        prepare(host, "d-new", {**NEW, "large": b"x" * 5 * PAGE, "foreign": b"new"})
        (host.srv / "app").mkdir()
        (host.srv / "app/foreign").write_bytes(b"foreign")
        run(host, "d-old", file_exists_behavior=FileExistsBehavior.RETAIN)
        before = state(host)
        ballast = disk / "ballast"
        refused = 0
        for free in range(1000):
            room = os.statvfs(disk).f_bavail - free
            with ballast.open("wb") as file:
                file.write(b"\0" * PAGE * room)
            code = ""
            try:
                run(host, "d-new", file_exists_behavior=FileExistsBehavior.OVERWRITE)
            except InstallError as problem:
                code = problem.detail_code
            ballast.unlink()
            if code == "INSTALL_DISK_FULL":
                assert state(host) == before, free
                refused += 1
                continue
            if code:
                # Past the point of no return a start of the agent finishes it.
                assert code == "INSTALL_UNFINISHED"
                recover_all(host.layout)
            break
        assert (host.srv / "app/large").stat().st_size == 5 * PAGE
        assert refused > 5
        names = {name for name in host.names() if "ferryman" in name}
        assert names == set()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.req("V2-125", "V2-193", "V2-215", "AG-312", "AG-332", "AG-304")
def test_a_user_who_swaps_folders_for_links_meanwhile_reaches_nothing_outside(
    host: Host, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    with temporary_user() as user:
        let_others_in(tmp_path)
        outside.mkdir()
        (outside / "deep").mkdir()
        for name in ("f", "g", "deep/f", "deep/g", "x"):
            (outside / name).write_bytes(b"root's own")
            (outside / name).chmod(0o600)
        app = host.srv / "app"
        app.mkdir()
        os.chown(app, user.pw_uid, user.pw_gid)
        permissions = (
            f"permissions:\n  - {{object: {app}, mode: 666, owner: '{user.pw_uid}', type: [file]}}\n"
            f"  - {{object: {app}, mode: 777, owner: '{user.pw_uid}', type: [directory]}}\n"
        )
        one = {f"sub/{name}": b"1" for name in ("f", "deep/f", "deep/g")}
        two = {f"sub/{name}": b"2" for name in ("f", "g", "deep/g")}
        prepare(host, "d-1", one, permissions)
        prepare(host, "d-2", two, permissions)
        seen = _everything(outside)
        failed = 0
        with attacker(user, app, outside):
            for number in range(60):
                try:
                    run(host, f"d-{number % 2 + 1}", file_exists_behavior=FileExistsBehavior.OVERWRITE)
                except InstallError:
                    failed += 1
                assert _everything(outside) == seen, number
        assert failed > 0


def _everything(folder: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for path in sorted((folder, *folder.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found.append((str(path), status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, content))
    return found
