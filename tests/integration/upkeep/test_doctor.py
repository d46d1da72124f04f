"""The doctor finds what is wrong, says what to do, and touches nothing."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

from ferryman_coordinator.clock import SystemClock
from ferryman_coordinator.config import load
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.identity import rotation
from ferryman_coordinator.upkeep import doctor
from ferryman_coordinator.upkeep.doctor import Finding, Verdict, examine
from tests.support.clock import ManualClock
from tests.support.coordinator import running_coordinator
from tests.support.small_disk import small_disk

PORTS = {"listen.grpc": "127.0.0.1:0", "listen.http": "127.0.0.1:0"}


async def found(data_dir: Path, now: Instant | None = None, **settings: str) -> dict[str, Finding]:
    """By subject; the worst where there are several."""
    flags = {"data_dir": str(data_dir), **PORTS} | {k.replace("__", "."): v for k, v in settings.items()}
    clock = SystemClock() if now is None else ManualClock(now)
    findings: dict[str, Finding] = {}
    async for one in examine(load(None, {}, flags), clock):
        if one.subject not in findings or one.verdict is not Verdict.OK:
            findings[one.subject] = one
    return findings


async def test_all_is_well_while_it_runs_and_afterwards(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data") as coordinator:
        await coordinator.enrol("web-1")
        running = await found(tmp_path / "data")
    assert {one.verdict for one in running.values()} == {Verdict.OK}
    assert running["coordinator"].text == "runs on this directory"
    stopped = await found(tmp_path / "data")
    assert {one.verdict for one in stopped.values()} == {Verdict.OK}
    assert stopped.keys() - running.keys() == {"port grpc", "port agents", "port http"}


async def test_each_thing_that_is_wrong_is_named_with_its_remedy(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running_coordinator(data) as coordinator:
        await coordinator.enrol("web-1")
    (data / "admin.token").chmod(0o644)
    rotation.begin(data / "ca", SystemClock().now(), 365 * 86_400_000)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        findings = await found(data, listen__http=f"127.0.0.1:{port}")
    assert findings["data directory"].remedy == f"chmod 600 {data / 'admin.token'}"
    assert "another process listens there" in findings["port http"].text
    assert "1 agents are left" in findings["CA"].text
    later = await found(data, Instant(SystemClock().now() + 4000 * 86_400_000))
    assert later["server certificate"].verdict is Verdict.BROKEN
    earlier = await found(data, Instant(SystemClock().now() - 3_600_000))
    assert earlier["clock"].verdict is Verdict.BROKEN
    with sqlite3.connect(data / "ferryman.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0002'")
    old = await found(data)
    assert (old["database"].verdict, "schema 0002" in old["database"].text) == (Verdict.WARNING, True)
    with sqlite3.connect(data / "ferryman.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer Ferryman" in (await found(data))["database"].text


async def test_a_damaged_database_is_not_called_whole(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running_coordinator(data):
        pass
    size = (data / "ferryman.db").stat().st_size
    with (data / "ferryman.db").open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    assert (await found(data))["database"].verdict is Verdict.BROKEN


async def test_a_disk_that_is_nearly_full(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data"):
        pass
    with small_disk(tmp_path / "small", 8 * 1024 * 1024) as small:
        shutil.copytree(tmp_path / "data", small / "data")
        assert (await found(small / "data"))["disk"].verdict is Verdict.BROKEN


async def test_a_postgresql_that_is_not_there(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data"):
        pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"postgresql://u:geheim@127.0.0.1:{port}/x"
    findings = await found(tmp_path / "data", database__url=url)
    assert findings["database"].verdict is Verdict.BROKEN
    assert "geheim" not in findings["database"].text


async def test_an_alarm_source_that_does_not_answer_is_a_warning() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        answers = await doctor._reached("alarm source x", f"http://127.0.0.1:{port}/")
    silent = await doctor._reached("alarm source x", f"http://127.0.0.1:{port}/")
    assert (answers.verdict, silent.verdict) == (Verdict.OK, Verdict.WARNING)


def test_the_exit_code_and_json_are_for_programs(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("ferryman-coordinator")), "doctor", "--json"]
    command += ["--data-dir", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (finding,) = json.loads(done.stdout)
    assert (finding["subject"], finding["verdict"]) == ("data directory", "broken")
    assert not (tmp_path / "nowhere").exists()
