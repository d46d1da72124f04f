"""Root in directories that belong to the agent's user (AG-063): what that user puts there must not act as root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman_agent import wiring
from ferryman_agent.config import parse
from ferryman_agent.errors import ConfigError, IdentityError
from ferryman_agent.hooks import processes
from ferryman_agent.host import identity, instance, privileges, told

NOBODY = 65534
ANOTHER = privileges.Account("somebody", NOBODY, NOBODY)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that others own")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of root that has nothing to do with an agent."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def say(pid_path: Path, pid: int, owner: int) -> None:
    """Writes a lock file as an agent does that has this number."""
    found = processes.read(pid)
    assert found is not None
    lock = pid_path.with_name(f"{pid_path.name}.lock")
    lock.write_text(f"{pid} {found.started_at_ticks} {processes.boot_id()}\n")
    os.chown(lock, owner, owner)


@pytest.mark.req("AG-021", "AG-063", "V2-290")
def test_root_believes_no_user_that_a_process_of_somebody_else_is_the_agent(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """`stop` signals whom the file names."""
    pid_path = tmp_path / "agent.pid"
    say(pid_path, sleeper.pid, NOBODY)
    assert instance.find(pid_path) is None
    say(pid_path, sleeper.pid, 0)
    found = instance.find(pid_path)
    assert found is not None
    assert found.pid == sleeper.pid


@pytest.mark.req("AG-021", "AG-063")
def test_an_agent_that_runs_as_a_user_is_found(tmp_path: Path) -> None:
    pid_path = tmp_path / "agent.pid"
    with subprocess.Popen(["sleep", "60"], user=NOBODY) as process:
        try:
            say(pid_path, process.pid, NOBODY)
            found = instance.find(pid_path)
            assert found is not None
            assert found.pid == process.pid
        finally:
            process.kill()


@pytest.mark.req("AG-021")
def test_root_takes_over_the_lock_file_of_a_user(tmp_path: Path) -> None:
    """The agent ran as that user once, and runs as root now."""
    lock = tmp_path / "agent.pid.lock"
    lock.touch()
    os.chown(lock, NOBODY, NOBODY)
    with instance.InstanceLock(tmp_path / "agent.pid"):
        found = instance.find(tmp_path / "agent.pid")
    assert found is not None
    assert found.pid == os.getpid()


@pytest.mark.req("AG-063", "V2-275")
def test_a_directory_is_given_away_only_if_it_is_the_one_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, wanted = tmp_path / "victim", tmp_path / "home" / "log"
    victim.mkdir(0o700)
    wanted.parent.mkdir()
    made = os.mkdir

    def swapped(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """The owner of the folder is quick."""
        made(path, mode, dir_fd=dir_fd)
        if wanted.is_dir():
            wanted.rmdir()
            wanted.symlink_to(victim)

    monkeypatch.setattr(os, "mkdir", swapped)
    with pytest.raises(ConfigError, match="cannot make"):
        privileges.make_directories(ANOTHER, [(wanted, 0o755)])
    assert victim.stat().st_uid == 0
    assert victim.stat().st_mode & 0o777 == 0o700


@pytest.mark.req("AG-063", "AG-062")
def test_start_makes_directories_for_the_user_and_writes_nothing_into_them(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    config = parse(b"user: nobody\n", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    target = tmp_path / "made-by-root"
    (tmp_path / "log" / ".ferryman-probe").symlink_to(target)
    wiring.prepare_directories(config)
    assert not target.exists()
    for name in ("state", "deployment-root", "pid"):
        assert (tmp_path / name).stat().st_uid == NOBODY


@pytest.mark.req("AG-063", "V2-288")
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    """`stop` and `status` look into these files first."""
    pid_path, status_path = tmp_path / "agent.pid", tmp_path / "status.json"
    for path in (tmp_path / "agent.pid.lock", status_path):
        os.mkfifo(path)
    with pytest.raises(OSError, match="it is no file"):
        instance.find(pid_path)
    assert told.read(status_path, 1) == {}
    config = parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    config.identity_path.parent.mkdir()
    os.mkfifo(config.identity_path)
    with pytest.raises(IdentityError):
        identity.load(config.identity_path)
