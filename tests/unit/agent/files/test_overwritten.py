"""Files of others that a deployment overwrites, and the rollback that puts them back."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ferryman_agent.core.messages import DeploymentId, FileExistsBehavior, Instant
from ferryman_agent.errors import InstallError
from ferryman_agent.files.install import install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.originals import read_originals
from ferryman_agent.files.prune import prune
from tests.support.bundles import GROUP, description, put_archive, tree
from tests.support.small_disk import small_disk

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

OVERWRITE, RETAIN = FileExistsBehavior.OVERWRITE, FileExistsBehavior.RETAIN
ROLLBACK = "codeDeployRollback"

AFTER_FAILURE: dict[str, Any] = {
    "deployment_creator": ROLLBACK,
    "last_successful_deployment_id": "d-1",
    "most_recent_deployment_id": "d-2",
}


def foreign(host: Host, name: str = "app/conf") -> Path:
    """A file that was on the machine before Ferryman."""
    path = host.srv / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"by hand")
    path.chmod(0o640)
    os.utime(path, ns=(10**18, 10**18))
    if os.geteuid() == 0:
        os.chown(path, 4321, 1234)
    return path


def look(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    return path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns


def record(host: Host) -> list[str]:
    return [one.path for one in read_originals(host.layout.originals(GROUP))]


def kept(host: Host, ident: str) -> list[str]:
    folder = host.layout.deployment(GROUP, ident).overwritten
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.fixture(params=["one file system", "another file system"])
def linking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hard link, and with a copy where there can be none."""
    if request.param == "another file system":

        def refuse(*_: object, **__: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("linking")
@pytest.mark.req("CP-347", "AG-328", "AG-466", "K13")
async def test_a_rollback_puts_back_what_the_failed_deployment_had_overwritten(host: Host) -> None:
    """d-1 adopted the file with RETAIN, d-2 overwrote it and failed in a later event, d-3 rolls back."""
    path = foreign(host)
    before = look(path)
    await host.install({"conf": b"r1", "a": b"1"}, file_exists_behavior=RETAIN)
    assert look(path) == before
    await host.install(
        {"conf": b"r2", "a": b"2"}, file_exists_behavior=OVERWRITE, last_successful_deployment_id="d-1"
    )
    assert path.read_bytes() == b"r2"
    report = await host.install({"conf": b"r1", "a": b"1"}, file_exists_behavior=RETAIN, **AFTER_FAILURE)
    assert look(path) == before
    assert path.stat().st_nlink == 1
    assert (host.srv / "app/a").read_bytes() == b"1"
    assert "SRV/app/conf" not in host.journal()
    assert f"were put back: {path}" in report.message
    assert (record(host), kept(host, "d-2")) == ([], [])
    # As any file that the group does not own it outlives the application.
    await host.install({}, "files: []\n")
    assert look(path) == before


@pytest.mark.usefixtures("linking")
@pytest.mark.req("CP-347", "AG-328", "AG-467", "AG-468")
async def test_it_comes_back_where_the_older_revision_has_no_such_file(host: Host) -> None:
    path = foreign(host)
    before = look(path)
    await host.install({"a": b"1"})
    await host.install({"a": b"2", "conf": b"r2"}, file_exists_behavior=OVERWRITE)
    await host.install({"a": b"1"}, **AFTER_FAILURE)
    assert look(path) == before
    assert "SRV/app/conf" not in host.journal()


@pytest.mark.req("CP-347")
async def test_links_come_back_as_links(host: Host) -> None:
    (host.srv / "app").mkdir()
    (host.srv / "app/conf").symlink_to("nowhere")
    await host.install({"a": b"1"})
    await host.install({"conf": b"r2"}, file_exists_behavior=OVERWRITE)
    await host.install({"a": b"1"}, **AFTER_FAILURE)
    assert os.readlink(host.srv / "app/conf") == "nowhere"


@pytest.mark.req("CP-347", "CP-348")
async def test_an_ordinary_deployment_of_the_older_revision_does_the_same(host: Host) -> None:
    path = foreign(host)
    before = look(path)
    await host.install({"conf": b"r1"}, file_exists_behavior=RETAIN)
    await host.install({"conf": b"r2"}, file_exists_behavior=OVERWRITE)
    await host.install(
        {"conf": b"r1"},
        file_exists_behavior=RETAIN,
        last_successful_deployment_id="d-1",
        most_recent_deployment_id="d-2",
    )
    assert look(path) == before


@pytest.mark.req("AG-167", "AG-T36", "AG-328")
async def test_after_a_success_the_file_is_the_group_s_for_good(host: Host) -> None:
    path = foreign(host)
    await host.install({"conf": b"r1"}, file_exists_behavior=OVERWRITE)
    again = {"last_successful_deployment_id": "d-1", "most_recent_deployment_id": "d-1"}
    await host.install({"conf": b"r2"}, file_exists_behavior=RETAIN, **again)
    assert path.read_bytes() == b"r2"
    assert record(host) == []
    await host.install({}, "files: []\n", deployment_creator=ROLLBACK, last_successful_deployment_id="d-1")
    assert not path.exists()
    # For people, until the revision is pruned.
    assert kept(host, "d-1") == ["1"]


@pytest.mark.req("CP-347")
async def test_a_second_failure_does_not_lose_it(host: Host) -> None:
    """A retry that fails as well, and only then the rollback."""
    path = foreign(host)
    before = look(path)
    await host.install({"a": b"1"})
    for attempt in (2, 3):
        await host.install(
            {"conf": b"r%d" % attempt},
            file_exists_behavior=OVERWRITE,
            last_successful_deployment_id="d-1",
            most_recent_deployment_id=f"d-{attempt - 1}",
        )
    assert [one.deployment for one in read_originals(host.layout.originals(GROUP))] == ["d-3"]
    pruned = prune(host.layout, GROUP, current=DeploymentId("d-4"), max_revisions=1)
    assert "d-2" not in pruned.removed
    await host.install({"a": b"1"}, **{**AFTER_FAILURE, "most_recent_deployment_id": "d-3"})
    assert look(path) == before


@pytest.mark.req("CP-347", "AG-175")
async def test_retention_keeps_what_may_be_needed_and_nothing_longer(host: Host) -> None:
    foreign(host)
    await host.install({"a": b"1"})
    await host.install({"conf": b"r2"}, file_exists_behavior=OVERWRITE)
    for ident in ("d-3", "d-4"):
        host.layout.create_deployment(GROUP, ident)
    host.layout.set_last_successful(GROUP, host.layout.deployment(GROUP, "d-1").path)
    prune(host.layout, GROUP, current=DeploymentId("d-4"), max_revisions=1)
    assert kept(host, "d-2") == ["1"]
    await host.install({"a": b"1"}, last_successful_deployment_id="d-2")
    prune(host.layout, GROUP, current=DeploymentId("d-4"), max_revisions=1)
    assert not host.layout.deployment(GROUP, "d-2").path.exists()


@pytest.mark.req("CP-347", "AG-289")
async def test_an_install_that_fails_itself_keeps_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = foreign(host)
    await host.install({"a": b"1"})
    before = tree(host.srv)
    real = os.utime

    def fail(target: Any, **given: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "utime", fail)
        with pytest.raises(InstallError):
            await host.install({"conf": b"r2", "z": b"1"}, file_exists_behavior=OVERWRITE)
    assert os.utime is real
    assert tree(host.srv) == before
    assert path.stat().st_nlink == 1
    assert (record(host), kept(host, "d-2")) == ([], [])


@pytest.mark.req("AG-468")
async def test_an_original_that_was_lost_is_named(host: Host) -> None:
    path = foreign(host)
    await host.install({"a": b"1"})
    await host.install({"conf": b"r2"}, file_exists_behavior=OVERWRITE)
    shutil.rmtree(host.layout.deployment(GROUP, "d-2").overwritten)
    report = await host.install({"a": b"1"}, **AFTER_FAILURE)
    assert f"the original of {path}, which deployment d-2 overwrote, is lost" in report.message
    assert not path.exists()


@pytest.mark.req("CP-347", "V2-288")
async def test_what_the_record_says_leads_nowhere_else(host: Host) -> None:
    await host.install({"conf": b"r1"})
    secret = host.layout.state / "secret"
    secret.write_bytes(b"secret")
    rows = [
        {"path": f"{host.srv}/app/conf", "deployment": "d-1", "kept": kept}
        for kept in ("../../state/secret", "/etc/passwd", "d-1/overwritten/../1", "d-1/overwritten", "")
    ]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    host.layout.originals(GROUP).write_text(f"{text}\0\xff[1\nnull\n")
    assert read_originals(host.layout.originals(GROUP)) == ()
    await host.install({"a": b"1"}, **AFTER_FAILURE)
    assert host.names() == {"app", "app/a", "app/appspec.yml"}


async def test_a_directory_that_stands_there_now_stays(host: Host) -> None:
    path = foreign(host)
    await host.install({"a": b"1"})
    await host.install({"conf": b"r2"}, file_exists_behavior=OVERWRITE)
    path.unlink()
    path.mkdir()
    report = await host.install({"a": b"1"}, **AFTER_FAILURE)
    assert f"the original of {path} cannot be put back: there is a directory now" in report.message
    assert path.is_dir() or not path.exists()


@pytest.mark.req("CP-347", "AG-215", "V2-074")
async def test_originals_on_another_file_system_are_copied_if_there_is_room(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "disk" / "root")
    srv = tmp_path / "srv"
    srv.mkdir()
    text = f"version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {srv}\n".encode()
    with small_disk(tmp_path / "disk", 1024 * 1024):
        layout.prepare()
        (srv / "a").write_bytes(os.urandom(2_000_000))
        (srv / "b").write_bytes(b"small")
        before = tree(srv)
        put_archive(layout, "d-1", {"app/a": b"1", "appspec.yml": text})
        with pytest.raises(InstallError) as failed:
            await install(description("d-1", file_exists_behavior=OVERWRITE), layout=layout, now=Instant(0))
        assert failed.value.detail_code == "INSTALL_DISK_FULL"
        assert tree(srv) == before
        put_archive(layout, "d-2", {"app/b": b"1", "appspec.yml": text})
        await install(description("d-2", file_exists_behavior=OVERWRITE), layout=layout, now=Instant(0))
        put_archive(layout, "d-3", {"app/c": b"1", "appspec.yml": text})
        await install(description("d-3", deployment_creator=ROLLBACK), layout=layout, now=Instant(0))
        assert {name: tree(srv)[name] for name in before} == before
