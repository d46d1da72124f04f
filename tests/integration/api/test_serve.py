"""`ferryman-coordinator` as a process: the ready line, what stands in its way, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import ferryman

COMMAND = Path(sys.executable).with_name("ferryman-coordinator")
ANY = ("--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")

Serve = Callable[..., subprocess.Popen[str]]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | environment,
        check=False,
    )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [COMMAND, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    found: dict[str, Any] = json.loads(line)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.req("CP-427")
def test_from_the_first_start_over_a_kill_to_an_orderly_end(serve: Serve, tmp_path: Path) -> None:
    """One test, since each start costs seconds on a busy machine."""
    data = tmp_path / "data"
    first = serve("--data-dir", str(data), *ANY)
    line = ready(first)
    assert list(line) == ["event", "grpc", "agents", "http", "data_dir", "ca_fingerprint"]
    assert line["event"] == "coordinator.ready"
    assert line["data_dir"] == str(data)
    assert line["http"].startswith("http://127.0.0.1:")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", line["ca_fingerprint"])
    for key in ("grpc", "agents"):
        host, _, port = line[key].rpartition(":")
        socket.create_connection((host, int(port)), timeout=5).close()
    assert (mode(data), mode(data / "admin.token")) == (0o700, 0o600)
    token = (data / "admin.token").read_text()
    assert token.startswith("ferryman-access-1-")
    assert (data / "ca.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")

    # A second one on the same directory is told, and touches nothing that is the first one's.
    upload = data / "bundles" / "incoming" / "upload"
    upload.write_bytes(b"half of a bundle")
    second = run("serve", "--data-dir", str(data), *ANY)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith("ferryman-coordinator: the data directory ")
    assert f"is in use by process {first.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert upload.exists()

    # Killed, it leaves all that the next start needs, and what it had no time to clean up.
    first.kill()
    first.wait(timeout=20)
    again = serve("--data-dir", str(data), *ANY)
    assert ready(again)["ca_fingerprint"] == line["ca_fingerprint"]
    assert (data / "admin.token").read_text() == token
    assert not upload.exists()

    again.send_signal(signal.SIGTERM)
    out, log = again.communicate(timeout=20)
    assert (again.returncode, out) == (0, "")
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events == [
        "bundles.leftovers_removed",
        "coordinator.ready",
        "coordinator.ending",
        "coordinator.ended",
    ]
    assert token.strip() not in log


def test_a_port_that_is_taken_is_one_line_on_standard_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = run("serve", "--data-dir", str(tmp_path / "data"), *ANY, "--grpc-listen", address)
    assert (refused.returncode, refused.stdout) == (1, "")
    (line,) = refused.stderr.splitlines()
    assert line.startswith(
        f"ferryman-coordinator: cannot listen on {address} for people and tools: another process"
    )


def test_the_second_signal_ends_it_at_once(serve: Serve, tmp_path: Path) -> None:
    process = serve("--data-dir", str(tmp_path / "data"), *ANY)
    host, _, port = ready(process)["http"].removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as stalled:
        # A request that never ends holds an orderly end up.
        stalled.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "coordinator.ending" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 128 + signal.SIGINT


def test_migrate_says_which_schema_the_database_has(tmp_path: Path) -> None:
    done = run("migrate", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"ferryman-coordinator \S+: the database has schema \d+\n", done.stdout)


def test_check_config_names_every_mistake(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.yml"
    path.write_text("listen: {grcp: x}\nlog: {level: loud}\n")
    checked = run("check-config", "--config", str(path))
    assert (checked.returncode, checked.stdout) == (1, "")
    assert "did you mean listen.grpc?" in checked.stderr
    assert "log.level: Invalid enum value 'loud'" in checked.stderr
    assert run("serve", "--config", str(path)).stderr == checked.stderr


def test_check_config_shows_what_is_in_effect_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.yml"
    path.write_text("database: {url: 'postgresql://u:hunter2@db/ferryman'}\n")
    checked = run("check-config", "--config", str(path), FERRYMAN_COORDINATOR_LISTEN_HTTP="127.0.0.1:9")
    assert checked.returncode == 0
    assert "hunter2" not in checked.stdout
    shown = yaml.safe_load(checked.stdout)
    assert shown["listen"]["http"] == "127.0.0.1:9"
    assert shown["agents"]["heartbeat_interval"] == "15s"


def test_help_and_version(tmp_path: Path) -> None:
    assert run("--version").stdout == f"ferryman-coordinator {ferryman.__version__}\n"
    for command in ((), ("serve",), ("migrate",), ("check-config",)):
        shown = run(*command, "--help")
        assert shown.returncode == 0
        assert "Usage" in shown.stdout
    wrong = run("serve", "--nonsense")
    assert wrong.returncode == 2
    assert "nonsense" in wrong.stderr
