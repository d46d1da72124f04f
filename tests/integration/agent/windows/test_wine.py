"""The agent on Windows, as far as Wine is one: needs wine and a Windows Python with the agent's libraries."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ferryman
import ferryman_agent
from tests.support.components import require_component

pytestmark = pytest.mark.timeout(180)  # the first start of a Wine makes its whole C: drive

HERE = Path(__file__).parent
PACKAGES = [Path(package.__file__ or "").parents[1] for package in (ferryman_agent, ferryman)]
RUN = "import sys, runpy; sys.path[:0] = {paths}; sys.argv = {arguments}; runpy.{how}"
Run = Callable[..., subprocess.CompletedProcess[str]]

APPSPEC = """\
version: 0.0
os: windows
files:
  - source: \\web
    destination: {destination}
hooks:
  BeforeInstall:
    - {{location: 'scripts\\before.bat', timeout: {timeout}}}
  AfterInstall:
    - {{location: 'scripts\\after.cmd', timeout: 60}}
"""


def windows_path(path: Path) -> str:
    return "Z:" + str(path).replace("/", "\\")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_component("wine")
    require_component("windows-python")
    return tmp_path_factory.mktemp("wine") / "prefix"


@pytest.fixture(scope="module")
def run(prefix: Path) -> Iterator[Run]:
    wine, python = require_component("wine"), require_component("windows-python")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(prefix.parent),
        "WINEPREFIX": str(prefix),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }

    def run(how: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = RUN.format(
            paths=[windows_path(path) for path in PACKAGES], arguments=["agent", *arguments], how=how
        )
        return subprocess.run(
            [wine, python, "-c", program],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=120,
        )

    yield run
    server = Path("/usr/lib/wine/wineserver64")
    if server.exists():
        subprocess.run([server, "-k"], env=environment, check=False, timeout=30)


def cli(run: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("run_module('ferryman_agent.cli.main', run_name='__main__')", *arguments)


def bundle(folder: Path, before: str, *, timeout: int = 60) -> Path:
    destination = "C:\\inetpub\\site"
    path = folder / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("appspec.yml", APPSPEC.format(destination=destination, timeout=timeout))
        archive.writestr("scripts/before.bat", f"@echo off\r\n{before}\r\n")
        archive.writestr("scripts/after.cmd", f"@echo off\r\ntype {destination}\\index.html\r\n")
        archive.writestr("web/index.html", "hello from the bundle")
        archive.writestr("web/sub/x.txt", "deep")
    return path


def running(prefix: Path) -> list[bytes]:
    """The command lines of the processes of this Wine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"WINEPREFIX={prefix}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    return found


def test_it_tells_its_version(run: Run) -> None:
    done = cli(run, "--version")
    assert done.stdout.strip() == f"ferryman-agent {ferryman_agent.__version__}", done.stderr


def test_the_file_system_keeps_its_promises(run: Run, tmp_path: Path) -> None:
    script = windows_path(HERE / "under_wine.py")
    done = run(f"run_path({script!r}, run_name='__main__')", "C:\\promises")
    assert done.stdout.split() == ["ok"], done.stderr[-3000:]


@pytest.mark.req("AG-540", "V2-233")
def test_a_local_deployment_installs_and_installs_again(run: Run, prefix: Path, tmp_path: Path) -> None:
    path = bundle(tmp_path, "set & exit /b 0")
    for _ in range(2):
        done = cli(run, "deploy-local", "-l", windows_path(path), "-g", "twice")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[stdout]LIFECYCLE_EVENT=BeforeInstall" in done.stdout
        assert "[stdout]hello from the bundle" in done.stdout
        assert "USERPROFILE" not in done.stdout
    site = prefix / "drive_c/inetpub/site"
    assert (site / "index.html").read_text() == "hello from the bundle"
    assert (site / "sub/x.txt").read_text() == "deep"
    root = prefix / "drive_c/ProgramData/Amazon/CodeDeploy"
    assert (root / "deployment-instructions/twice-cleanup").exists()
    assert (root / "log/codedeploy-agent-log.txt").exists()


@pytest.mark.req("AG-536")
def test_a_script_that_is_over_its_time_is_ended_with_what_it_started(
    run: Run, prefix: Path, tmp_path: Path
) -> None:
    path = bundle(tmp_path, "start /b ping -n 600 127.0.0.1 >nul\r\npause <con", timeout=3)
    done = cli(run, "deploy-local", "-l", windows_path(path), "-g", "slow")
    assert done.returncode == 1
    assert "3 s" in done.stdout + done.stderr
    assert not [line for line in running(prefix) if b"ping" in line]


@pytest.mark.req("AG-534", "AG-512")
def test_a_tar_is_refused_by_its_kind(run: Run, tmp_path: Path) -> None:
    (tmp_path / "appspec.yml").write_text("version: 0.0\nos: windows\n")
    with tarfile.open(tmp_path / "b.tgz", "w:gz") as archive:
        archive.add(tmp_path / "appspec.yml", "appspec.yml")
    done = cli(run, "deploy-local", "-l", windows_path(tmp_path / "b.tgz"), "-g", "tar")
    assert done.returncode == 1
    assert "agents on Windows take zip archives only" in done.stdout + done.stderr


def test_a_revision_for_linux_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("appspec.yml", "version: 0.0\nos: linux\n")
    done = cli(run, "deploy-local", "-l", windows_path(path), "-g", "linux")
    assert done.returncode == 1
    assert "linux" in done.stdout + done.stderr
