"""An ordinary user, no configuration, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.components import require_component, require_root
from tests.support.local_tool import GROUP, LocalTool, application
from tests.support.users import temporary_user


def _reachable_by_others() -> bool:
    """Whether an ordinary user may run this interpreter: where root's home holds it, none may."""
    places = [Path(sys.executable).resolve(), Path(sys.executable).parent, Path(__file__).resolve()]
    return all(parent.stat().st_mode & 0o001 for place in places for parent in place.parents)


@pytest.fixture
def someone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTool]:
    """The command as a user of this machine, cut off from every network."""
    require_root()
    setpriv, unshare = require_component("setpriv"), shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--net", "true"], check=False).returncode:
        pytest.skip("needs unshare --net: apt install util-linux, and not a container that forbids it")
    base = Path("/var/tmp") / f"ferryman-local-{os.getpid()}"
    with temporary_user() as user:
        base.mkdir(mode=0o755)
        try:
            os.chown(base, user.pw_uid, user.pw_gid)
            prefix = [unshare, "--net", str(setpriv), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
            prefix.append("--clear-groups")
            if not _reachable_by_others():
                # To read only; what it may write and own stays an ordinary user's.
                prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
            tool = LocalTool(base, prefix=prefix)
            del tool.environ["FERRYMAN_AGENT_HOME"]
            yield tool
        finally:
            shutil.rmtree(base)


@pytest.mark.req("TS-81", "AG-502", "PF-336", "AG-474", "AG-002", "PF-330", "AG-H31")
def test_an_ordinary_user_without_network_and_configuration(someone: LocalTool) -> None:
    app = application(
        someone.home / "app", {"AfterInstall": "id -un; id -u"}, destination=someone.home / "srv"
    )
    done = someone.run(cwd=app)
    assert (done.code, done.err) == (0, "")
    assert done.folder.parent == someone.home / ".local/share/ferryman-agent/deployment-root" / GROUP
    owner = someone.home.stat().st_uid
    assert owner != 0
    assert f"    [stdout]{owner}" in done.out.splitlines()
    assert (someone.home / "srv" / "content.txt").stat().st_uid == owner
    assert (someone.home / ".local/state/ferryman-agent/log/codedeploy-local.log").is_file()
    data = someone.run(
        cwd=app, XDG_DATA_HOME=str(someone.home / "data"), XDG_STATE_HOME=str(someone.home / "state")
    )
    # Another root knows nothing of what the first one installed.
    assert data.code == 1
    assert data.folder.is_relative_to(someone.home / "data" / "ferryman-agent")


@pytest.mark.req("TS-81", "PF-336", "AG-O08")
def test_root_and_log_folders_of_ones_own(someone: LocalTool) -> None:
    app = application(someone.home / "app", destination=someone.home / "srv")
    config = someone.home / "mine.yml"
    config.write_text(f":root_dir: {someone.home}/root\n:log_dir: {someone.home}/logs\n")
    done = someone.run("-c", str(config), cwd=app)
    assert (done.code, done.err) == (0, "")
    assert done.folder.parent == someone.home / "root" / GROUP
    assert (someone.home / "logs" / "codedeploy-local.log").is_file()


def test_a_root_that_belongs_to_somebody_else_is_said(someone: LocalTool) -> None:
    app = application(someone.home / "app")
    config = someone.home / "mine.yml"
    config.write_text(":root_dir: /etc/ferryman-root\n")
    done = someone.run("-c", str(config), cwd=app)
    assert done.code == 1
    assert "root_dir /etc/ferryman-root: Permission denied" in done.err
    assert "Traceback" not in done.err


def _asking_for_much(someone: LocalTool) -> tuple[Path, Path]:
    """An application, and a directory of root's that it installs to."""
    closed = someone.home / "closed"
    closed.mkdir()
    app = application(someone.home / "app", {"BeforeInstall": "touch ran", "AfterInstall": "touch ran"})
    (app / "content.txt").write_text("content")
    (app / "appspec.yml").write_text(
        "version: 0.0\nos: linux\nfiles:\n"
        f"  - {{source: content.txt, destination: {someone.home}/srv}}\n"
        f"  - {{source: content.txt, destination: {closed}/inner}}\n"
        f"  - {{source: content.txt, destination: /etc/ferryman-test}}\n"
        f"permissions:\n  - {{object: {someone.home}/srv, owner: root}}\n"
        f"  - {{object: {someone.home}/srv/content.txt, group: daemon}}\n"
        "hooks:\n"
        "  BeforeInstall:\n    - {location: scripts/BeforeInstall.sh}\n"
        "  AfterInstall:\n    - {location: scripts/AfterInstall.sh, runas: daemon}\n"
        "  ApplicationStart:\n    - {location: scripts/AfterInstall.sh, sudo: true}\n"
    )
    return app, closed


@pytest.mark.req("AG-015", "AG-399")
def test_all_that_only_root_could_do_is_listed_before_anything_is_touched(someone: LocalTool) -> None:
    app, closed = _asking_for_much(someone)
    done = someone.run("--json", cwd=app)
    assert done.code == 1
    event = done.document["events"][-1]
    # The original's code for a `runas` that cannot be (AG-399).
    assert (event["lifecycleEvent"], event["errorCode"]) == ("DownloadBundle", 4)
    said = event["message"]
    for part in (
        "scripts/AfterInstall.sh (AfterInstall) shall run as 'daemon'",
        "scripts/AfterInstall.sh (ApplicationStart) asks for sudo",
        "entry 1 of 'permissions' gives files away",
        "entry 2 of 'permissions' gives files away",
        f"cannot write in {closed}: {closed}/inner",
        "cannot write in /etc: /etc/ferryman-test",
    ):
        assert part in said
    assert f"cannot write in {someone.home}:" not in said
    assert list(closed.iterdir()) == []
    assert not (someone.home / "srv").exists()
    assert not list(someone.home.rglob("ran"))


@pytest.mark.req("AG-015")
def test_a_script_may_open_a_destination_before_the_install_judges_it(someone: LocalTool) -> None:
    """As one with a `sudo` of its own would; here the directory is its own and only its mode is closed."""
    place = someone.home / "place"
    place.mkdir(mode=0o555)
    owner = someone.home.stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    app = application(someone.home / "app", {"BeforeInstall": f"chmod 755 {place}"}, destination=place)
    assert someone.run(cwd=app).code == 0
    place.chmod(0o555)
    (app / "scripts" / "BeforeInstall.sh").write_text("#!/bin/sh\n")
    (app / "content.txt").write_text("another")
    done = someone.run("--json", cwd=app)
    assert (done.code, done.events[-1]) == (1, "Install")
    failed = done.document["events"][-1]
    assert failed["errorCode"] == 5
    assert f"cannot write in {place}: {place}/content.txt" in failed["message"]
    assert (place / "content.txt").read_text() == "content"
    # Nothing comes between: it is said before the first script.
    (app / "appspec.yml").write_text(
        f"version: 0.0\nos: linux\nfiles:\n  - {{source: content.txt, destination: {place}}}\n"
    )
    assert someone.run("--json", cwd=app).events[-1] == "DownloadBundle"


@pytest.mark.req("AG-063", "V2-385")
def test_root_deploys_as_the_user_that_the_configuration_names() -> None:
    """As its agent would: not as root, in directories that the user can change under its hands."""
    setpriv = str(require_component("setpriv"))
    base = Path("/var/tmp") / f"ferryman-local-root-{os.getpid()}"
    # So that the modules can be read that are loaded as late as that.
    prefix = [] if _reachable_by_others() else [setpriv, "--securebits=+no_setuid_fixup"]
    with temporary_user() as user:
        base.mkdir(mode=0o755)
        try:
            os.chown(base, user.pw_uid, user.pw_gid)
            tool = LocalTool(base, prefix=prefix)
            (base / "ferrymanagent.yml").write_text(f"user: {user.pw_name}\n")
            app = application(base / "app", {"AfterInstall": "id -u"}, destination=base / "srv")
            os.chown(app, user.pw_uid, user.pw_gid)
            done = tool.run(cwd=app)
            assert (done.code, done.err) == (0, "")
            assert f"    [stdout]{user.pw_uid}" in done.out.splitlines()
            ours = [
                *tool.root.rglob("*"),
                *(base / "state").rglob("*"),
                *(base / "log").rglob("*"),
                base / "srv",
            ]
            assert {path.lstat().st_uid for path in ours} == {user.pw_uid}
        finally:
            shutil.rmtree(base)
