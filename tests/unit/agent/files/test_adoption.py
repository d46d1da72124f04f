"""Files that one deployment group takes over from another, and the rollback that gives them back (AG-326)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ferryman_agent.core.messages import FileExistsBehavior, GroupId
from ferryman_agent.files import commit, manifest
from ferryman_agent.files.cleanup import read_journal, write_journal
from ferryman_agent.files.deployment_record import DeploymentRecord, write
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.manifest import load_manifest, load_trusted, path_of
from ferryman_agent.system import fcntl
from tests.support.bundles import GROUP

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

OTHER = GroupId("group-2")
OVERWRITE, RETAIN = FileExistsBehavior.OVERWRITE, FileExistsBehavior.RETAIN
NOTHING = "files: []\n"
APP = "files:\n  - {source: app, destination: SRV/app}\n"
ROLLBACK: dict[str, Any] = {"deployment_creator": "codeDeployRollback"}


def of(files: dict[str, bytes | str]) -> dict[str, bytes | str]:
    """A revision that has them in `app`."""
    return {f"app/{name}": content for name, content in files.items()}


def recorded(host: Host, group: str = OTHER) -> set[str]:
    """What the group's record of installed files lists."""
    rows = load_manifest(host.layout.installed_digests(group))
    return {path_of(row).replace(str(host.srv), "SRV") for row in rows}


def look(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    return path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime_ns


@pytest.mark.req("AG-325", "AG-326", "AG-T43", "AG-X30", "AG-S03")
async def test_a_second_group_is_told_whose_file_it_is_and_takes_it_over_when_told_so(host: Host) -> None:
    await host.install(of({"a": b"theirs", "b": b"theirs too"}), APP, group=OTHER)
    name = DeploymentRecord(
        deployment_id="d-1", group_name="shop-web", application_name="shop", revision="sha256:0"
    )
    write(host.layout.deployment(OTHER, "d-1").path, name)
    error = await host.refused(of({"a": b"ours"}), APP)
    assert f"{host.srv}/app/a (file, installed by deployment group group-2 (shop-web))" in error.message
    assert "or deploy with --adopt to take over what other deployment groups installed" in error.message

    report = await host.install(of({"a": b"ours"}), APP, adopt=True)
    assert (host.srv / "app/a").read_bytes() == b"ours"
    assert f"1 files were taken over from deployment group group-2: {host.srv}/app/a" in report.message
    assert host.journal() == ["SRV/app/a"]
    assert host.journal(OTHER) == ["SRV/app", "SRV/app/b"]
    assert recorded(host) == {"SRV/app", "SRV/app/b"}, "it is no drift of the other group's"
    # What either of them does from now on leaves the other's files alone.
    await host.install({}, NOTHING, group=OTHER)
    assert host.names() == {"app", "app/a"}
    error = await host.refused(of({"a": b"theirs"}), APP, group=OTHER)
    assert "installed by deployment group group-1" in error.message
    await host.install({}, NOTHING)
    assert host.names() == {"app"}


@pytest.mark.req("AG-326")
async def test_files_that_no_group_installed_are_not_for_adoption(host: Host) -> None:
    await host.install(of({"a": b"theirs"}), APP, group=OTHER)
    (host.srv / "app/foreign").write_bytes(b"by hand")
    error = await host.refused(of({"a": b"ours", "foreign": b"ours"}), APP, adopt=True)
    assert f"{host.srv}/app/foreign (file, of unknown origin)" in error.message
    assert "--adopt" not in error.message
    assert host.journal(OTHER) == ["SRV/app", "SRV/app/a"]
    await host.install(of({"a": b"ours", "foreign": b"ours"}), APP, adopt=True, file_exists_behavior=RETAIN)
    assert (host.srv / "app/foreign").read_bytes() == b"by hand"
    assert (host.srv / "app/a").read_bytes() == b"ours", "what is adopted is the group's: nothing to RETAIN"


@pytest.mark.req("AG-326")
async def test_links_and_files_that_are_gone_change_hands_but_no_directory_becomes_a_file(host: Host) -> None:
    await host.install(of({"link": "nowhere", "gone": b"1", "kind/x": b"2"}), APP, group=OTHER)
    (host.srv / "app/gone").unlink()
    error = await host.refused(of({"kind": b"ours"}), APP, adopt=True)
    assert f"{host.srv}/app/kind (directory, installed by deployment group group-2)" in error.message
    await host.install(of({"link": b"ours", "gone": b"ours"}), APP, adopt=True)
    assert (host.srv / "app/link").read_bytes() == b"ours"
    assert sorted(host.journal()) == ["SRV/app/gone", "SRV/app/link"]
    assert host.journal(OTHER) == ["SRV/app", "SRV/app/kind", "SRV/app/kind/x"]


@pytest.mark.req("AG-326")
async def test_what_two_groups_list_belongs_to_the_one_that_adopts(host: Host) -> None:
    """OVERWRITE leaves the entry of the other group where it is: the path is in both journals."""
    await host.install(of({"a": b"theirs"}), APP, group=OTHER)
    await host.install(of({"a": b"ours"}), APP, file_exists_behavior=OVERWRITE)
    assert "SRV/app/a" in host.journal(OTHER)
    await host.install(of({"a": b"ours"}), APP, adopt=True)
    assert host.journal(OTHER) == ["SRV/app"]
    assert host.journal() == ["SRV/app/a"]


@pytest.mark.req("AG-326", "AG-466", "AG-467")
@pytest.mark.parametrize(
    "how",
    [ROLLBACK, {"most_recent_deployment_id": "d-3"}],
    ids=["rollback", "the deployment after the one that failed"],
)
async def test_a_rollback_gives_back_what_the_failed_deployment_took_over(
    host: Host, how: dict[str, Any]
) -> None:
    await host.install(of({"a": b"theirs", "same": b"same"}), APP, group=OTHER)
    path = host.srv / "app/a"
    path.chmod(0o640)
    os.utime(path, ns=(10**18, 10**18))
    await host.install(of({"own": b"1"}), APP)
    before = host.content(), look(path), host.journal(), host.journal(OTHER), recorded(host)
    await host.install(
        of({"own": b"2", "a": b"ours", "same": b"same"}), APP, adopt=True, last_successful_deployment_id="d-2"
    )
    assert host.journal(OTHER) == ["SRV/app"]
    report = await host.install(of({"own": b"1"}), APP, last_successful_deployment_id="d-2", **how)
    assert (host.content(), look(path), host.journal(), host.journal(OTHER), recorded(host)) == before
    assert "2 files were put back and belong again to deployment group group-2" in report.message
    assert not host.layout.deployment(GROUP, "d-3").overwritten.exists()
    # The other group goes on as if nothing had happened.
    report = await host.install(of({"a": b"theirs", "same": b"same"}), APP, group=OTHER)
    assert (report.message, report.written) == ("Succeeded", 0)


@pytest.mark.req("AG-326", "AG-167")
async def test_after_a_success_they_are_the_groups_for_good(host: Host) -> None:
    await host.install(of({"a": b"theirs"}), APP, group=OTHER)
    await host.install(of({"a": b"ours"}), APP, adopt=True)
    await host.install(
        of({"b": b"2"}), APP, last_successful_deployment_id="d-2", most_recent_deployment_id="d-2"
    )
    assert host.names() == {"app", "app/b"}
    assert host.journal(OTHER) == ["SRV/app"]


@pytest.mark.req("AG-326", "V2-288")
async def test_records_that_cannot_be_used_are_no_reason_to_fail(host: Host) -> None:
    await host.install(of({"a": b"theirs", "b": b"theirs"}), APP, group=OTHER)
    host.layout.installed_digests(OTHER).write_text("[[")
    journal = host.layout.cleanup_journal(OTHER)
    journal.write_bytes(journal.read_bytes() + b"/cut off in the mid")
    await host.install(of({"a": b"ours"}), APP, adopt=True)
    assert host.journal(OTHER) == ["SRV/app", "SRV/app/b"]
    await host.install({}, NOTHING, **ROLLBACK)
    assert host.journal(OTHER) == ["SRV/app", "SRV/app/b", "SRV/app/a"]
    assert load_trusted(host.layout, OTHER).rows == {}


@pytest.mark.req("AG-326")
async def test_a_group_whose_data_was_removed_gets_its_files_back_all_the_same(host: Host) -> None:
    await host.install(of({"a": b"theirs"}), APP, group=OTHER)
    await host.install(of({"a": b"ours"}), APP, adopt=True)
    host.layout.cleanup_journal(OTHER).unlink()
    await host.install({}, NOTHING, **ROLLBACK)
    assert (host.srv / "app/a").read_bytes() == b"theirs"
    assert host.journal(OTHER) == ["SRV/app/a"]


def may_lock(layout: Layout, how: int) -> bool:
    descriptor = os.open(layout.installs_lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def at_the_end(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, then: Callable[[], None]) -> None:
    real = getattr(module, name)

    def call(*args: Any, **given: Any) -> Any:
        then()
        return real(*args, **given)

    monkeypatch.setattr(module, name, call)


@pytest.mark.req("AG-326", "V2-045")
async def test_only_an_install_that_moves_files_has_to_be_alone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []

    def note() -> None:
        seen.append(tuple(may_lock(host.layout, how) for how in (fcntl.LOCK_SH, fcntl.LOCK_EX)))  # type: ignore[arg-type]  # two of them

    at_the_end(monkeypatch, commit, "write_journal", note)
    at_the_end(monkeypatch, manifest, "load_manifest", note)
    await host.install(of({"a": b"theirs"}), APP, group=OTHER)
    manifest.settle(host.layout, OTHER, "d-1")
    assert seen == [(True, False), (True, False)], "beside others, but beside nobody who moves files"
    seen.clear()
    await host.install(of({"a": b"ours"}), APP, adopt=True)
    assert seen == [(False, False)]
    seen.clear()
    await host.install({}, NOTHING, **ROLLBACK)
    assert seen == [(False, False)], "what gives files back as well"
    assert may_lock(host.layout, fcntl.LOCK_EX)


@pytest.mark.req("AG-326")
async def test_an_untrusted_journal_gives_nothing_away(host: Host) -> None:
    await host.install(of({"a": b"theirs"}), APP, group=OTHER)
    journal = host.layout.cleanup_journal(OTHER)
    # What has no name of a group is not ours either.
    (host.layout.instructions / "deployment-logs-cleanup").write_bytes(journal.read_bytes())
    journal.chmod(0o666)
    error = await host.refused(of({"a": b"ours"}), APP, adopt=True)
    assert "of unknown origin" in error.message


@pytest.mark.req("AG-326", "AG-160")
async def test_rules_of_selinux_go_along_with_their_files(host: Host) -> None:
    """Those of files that stay are the other group's still."""
    await host.install(of({"a": b"theirs", "b": b"theirs"}), APP, group=OTHER)
    path = host.layout.cleanup_journal(OTHER)
    line = "semanage\0{}".format
    journal = read_journal(path)
    rules = tuple(line(host.srv / "app" / name).encode() for name in ("a", "b"))
    write_journal(path, type(journal)(journal.paths, rules))
    await host.install(of({"a": b"ours"}), APP, adopt=True)
    assert host.journal() == [line("SRV/app/a"), "SRV/app/a"]
    assert host.journal(OTHER) == [line("SRV/app/b"), "SRV/app", "SRV/app/b"]
