"""How scripts are started and judged, with real processes."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ferryman_agent.core.messages import Diagnostics, ScriptErrorCode
from ferryman_agent.hooks import native, posix
from ferryman_agent.hooks.contract import HookSettings
from tests.support.agent_clock import ManualAgentClock
from tests.support.hook_runs import FakeScript, HookBench


@pytest.fixture
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.req("AG-368", "AG-420", "V2-244", "AG-448", "AG-401", "AG-T60", "AG-E04", "AG-455")
async def test_scripts_run_in_order_up_to_the_first_failure(bench: HookBench) -> None:
    made = bench.root / "made"
    found = await bench.run(
        bench.script("a.sh", f"echo a; echo a >>{made}"),
        bench.script("b.sh", f"echo b >>{made}; echo why >&2; exit 3"),
        bench.script("c.sh", f"echo c >>{made}"),
    )
    assert made.read_text() == "a\nb\n"
    assert found.error_code is ScriptErrorCode.SCRIPT_FAILED
    assert (found.script_name, found.script_index, found.exit_status, found.signal) == ("b.sh", 1, 3, None)
    assert found.message == "The deployment failed because script b.sh ended with exit status 3"
    assert found.detail_code == "SCRIPT_EXIT_STATUS"
    assert "[stdout]a\n" in found.log
    assert "[stderr]why\n" in found.log
    assert found.host_log_path == str(bench.place.scripts_log)
    names = ["a.sh", "b.sh"]
    assert [name for name, _ in bench.watcher.started] == names
    assert bench.watcher.ended == bench.watcher.started


@pytest.mark.req("AG-369", "AG-452", "AG-E00")
async def test_success_has_code_0_and_the_tail(bench: HookBench) -> None:
    found = await bench.run(bench.script("a.sh", "echo fine"))
    assert (found.error_code, found.script_name, found.message) == (0, "", "Succeeded")
    assert "[stdout]fine\n" in found.log


@pytest.mark.req("AG-436", "AG-119")
async def test_an_event_without_scripts_writes_nothing(bench: HookBench) -> None:
    assert await bench.run() == Diagnostics()
    assert not bench.place.path.joinpath("logs").exists()


@pytest.mark.req("AG-433", "AG-424", "AG-435", "AG-437")
@pytest.mark.usefixtures("_utc")
async def test_the_logs_of_an_event_byte_for_byte(bench: HookBench) -> None:
    bench.clock = ManualAgentClock()
    texts = [
        "LifecycleEvent - ApplicationStart",
        "Script - scripts/a.sh",
        "[stdout]one",
        "Script ended - scripts/a.sh: exit status 0 after 0.000 s",
        "Script - b.sh",
        "[stderr]no newline",
        "Script ended - b.sh: exit status 5 after 0.000 s",
    ]
    await bench.run(
        bench.script("scripts/a.sh", "echo one"),
        bench.script("b.sh", "printf 'no newline' >&2; exit 5"),
        deployments_log=bench.deployments_log,
    )
    assert bench.logged().decode() == "".join(f"2023-11-14 22:13:20 {text}\n" for text in texts)
    combined = bench.deployments_log.read_text()
    assert combined == "".join(f"[2023-11-14 22:13:20.000] [d-1]{text}\n" for text in texts)


@pytest.mark.req("AG-372", "AG-371", "AG-T61", "AG-E01")
async def test_all_scripts_are_looked_for_before_the_first_runs(bench: HookBench) -> None:
    made = bench.root / "made"
    found = await bench.run(bench.script("a.sh", f"touch {made}"), FakeScript(location="b.sh"))
    assert not made.exists()
    assert (found.error_code, found.script_name) == (ScriptErrorCode.SCRIPT_MISSING, "b.sh")
    assert str(bench.archive / "b.sh") in found.message
    assert b"Error - b.sh does not exist" in bench.logged()


@pytest.mark.req("AG-374", "AG-T61", "AG-E02")
async def test_a_directory_is_code_2(bench: HookBench) -> None:
    (bench.archive / "scripts").mkdir(parents=True)
    found = await bench.run(FakeScript(location="scripts"))
    assert (found.error_code, found.detail_code) == (
        ScriptErrorCode.SCRIPT_NOT_EXECUTABLE,
        "SCRIPT_IS_DIRECTORY",
    )


@pytest.mark.req("AG-397", "V2-249")
async def test_an_unknown_user_ends_the_event_before_anything_runs(bench: HookBench) -> None:
    found = await bench.run(bench.script("a.sh", "echo ran"), bench.script("b.sh", "", runas="no-such-user"))
    assert (found.error_code, found.script_name) == (ScriptErrorCode.SCRIPT_FAILED, "b.sh")
    assert "no-such-user" in found.message
    assert bench.watcher.started == []


@pytest.mark.req("AG-373", "V2-245", "AG-T67")
async def test_a_missing_execute_bit_is_added_with_a_warning(bench: HookBench) -> None:
    with capture_logs() as logs:
        found = await bench.run(bench.script("a.sh", "echo ran", mode=0o644))
    assert found.is_success
    assert (bench.archive / "a.sh").stat().st_mode & 0o7777 == 0o755
    assert b"Warning - a.sh was not executable" in bench.logged()
    assert ("hook.made_executable", "warning") in [(line["event"], line["log_level"]) for line in logs]


@pytest.mark.req("AG-375", "AG-T67")
async def test_a_script_without_first_line_runs_under_sh(bench: HookBench) -> None:
    bench.script("a.sh", b"echo $0; exit 7\n")
    found = await bench.run(FakeScript(location="a.sh"))
    assert found.exit_status == 7
    assert f"[stdout]{bench.archive / 'a.sh'}\n" in found.log


@pytest.mark.req("AG-375", "AG-377")
async def test_any_interpreter_and_no_arguments(bench: HookBench) -> None:
    found = await bench.run(
        bench.script("a.py", "#!/usr/bin/env python3\nimport sys\nprint(len(sys.argv))\n"),
        bench.script("b.sh", "echo $#"),
    )
    assert bench.watcher.texts == ["1", "0"], found.log


@pytest.mark.req("AG-378", "V2-248", "AG-T67", "AG-X19")
@pytest.mark.parametrize(
    "location", ["with blank/a b.sh", "$(touch hurt).sh", "a;b'\"&|.sh", "-rf", "ü.sh", "a\nb.sh"]
)
async def test_paths_with_blanks_and_metacharacters(bench: HookBench, location: str) -> None:
    found = await bench.run(bench.script(location, "echo ran"))
    assert found.is_success, found.message
    assert bench.watcher.texts == ["ran"]


async def test_a_script_whose_name_is_not_text_can_be_reported(bench: HookBench) -> None:
    location = os.fsdecode(b"a\xff.sh")
    found = await bench.run(bench.script(location, "exit 1"))
    assert found.script_name == "a\ufffd.sh"
    found.message.encode()
    assert b"Script - a\\udcff.sh\n" in bench.logged()


@pytest.mark.req("AG-376", "AG-T67", "AG-S12", "AG-X36")
async def test_a_carriage_return_is_named(bench: HookBench) -> None:
    found = await bench.run(bench.script("a.sh", "#!/bin/sh\r\necho\r\n"))
    assert (found.error_code, found.detail_code) == (
        ScriptErrorCode.SCRIPT_FAILED,
        "SCRIPT_CARRIAGE_RETURN",
    )
    assert bench.watcher.started == []


@pytest.mark.req("AG-422", "AG-T61", "AG-E04")
async def test_a_program_that_cannot_be_spawned_is_code_4(bench: HookBench) -> None:
    bench.script("a.bin", b"\x7fELF\0\0 for nobody")
    with capture_logs() as logs:
        found = await bench.run(FakeScript(location="a.bin"))
    assert (found.error_code, found.detail_code) == (ScriptErrorCode.SCRIPT_FAILED, "SCRIPT_NOT_STARTED")
    assert "another kind of machine" in found.message
    assert [line["event"] for line in logs] == ["hook.starting", "hook.not_started"]


@pytest.mark.req("AG-421", "V2-243", "AG-T61", "AG-E04", "AG-X35")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
async def test_death_by_a_signal_is_named(bench: HookBench, number: signal.Signals) -> None:
    found = await bench.run(bench.script("a.sh", f"ulimit -c 0; kill -{int(number)} $$"))
    assert found.error_code is ScriptErrorCode.SCRIPT_FAILED
    assert (found.exit_status, found.signal) == (None, int(number))
    assert f"{number.name} ({int(number)}" in found.message


@pytest.mark.req("V2-236")
async def test_a_script_that_kills_its_group_does_not_hurt_us(bench: HookBench) -> None:
    found = await bench.run(bench.script("a.sh", "kill -9 0"))
    assert found.signal == signal.SIGKILL


@pytest.mark.req("AG-423")
@pytest.mark.parametrize(
    "text, hint",
    [("no-such-command", "was not found"), (". /etc/passwd/x; /etc/passwd", "execute permission")],
)
async def test_hints_for_126_and_127(bench: HookBench, text: str, hint: str) -> None:
    text = text.rpartition("; ")[2]
    found = await bench.run(bench.script("a.sh", text))
    assert found.exit_status in (126, 127)
    assert hint in found.message


@pytest.mark.req("AG-T69", "V2-230", "V2-233", "AG-380", "AG-381", "AG-H09", "AG-H35", "AG-X33")
async def test_a_script_sees_exactly_the_documented_variables(
    bench: HookBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the agent")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt")
    program = bench.archive / "env"
    program.parent.mkdir(parents=True)
    shutil.copy(shutil.which("env") or "/usr/bin/env", program)
    found = await bench.run(FakeScript(location="env"), previous_archive=Path("/old"))
    seen = dict(line.split("=", 1) for line in bench.watcher.texts)
    assert set(seen) == {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL",
        "APPLICATION_NAME", "DEPLOYMENT_ID", "DEPLOYMENT_GROUP_NAME", "DEPLOYMENT_GROUP_ID", "LIFECYCLE_EVENT",
        "FERRYMAN_REVISION_DIR", "FERRYMAN_DEPLOYMENT_DIR", "FERRYMAN_ROOT_DIR", "FERRYMAN_INSTALL_ROOT",
        "FERRYMAN_PREVIOUS_REVISION_DIR",
    }, found.log  # fmt: skip
    assert seen["DEPLOYMENT_GROUP_NAME"] == "blue group"
    assert seen["FERRYMAN_REVISION_DIR"] == str(bench.archive)


@pytest.mark.req("AG-201", "AG-384", "AG-435")
async def test_an_older_revisions_script_belongs_to_the_current_deployment(bench: HookBench) -> None:
    older = HookBench(root=bench.root / "older")
    script = older.script("a.sh", "echo $DEPLOYMENT_ID $FERRYMAN_REVISION_DIR")
    await bench.run(script, archive=older.archive)
    assert bench.watcher.texts == [f"d-1 {older.archive}"]
    assert b"[stdout]d-1" in bench.logged()


@pytest.mark.req("AG-389", "V2-235")
async def test_standard_input_is_empty(bench: HookBench) -> None:
    await bench.run(bench.script("a.sh", "readlink /proc/self/fd/0; cat; echo end"))
    assert bench.watcher.texts == ["/dev/null", "end"]


@pytest.mark.req("AG-390", "V2-236")
async def test_a_session_and_group_of_its_own(bench: HookBench) -> None:
    await bench.run(
        bench.script("a.sh", 'read -r _ _ _ _ group session _ </proc/$$/stat; echo "$$ $group $session"')
    )
    pid, group, session = bench.watcher.texts[0].split()
    assert pid == group == session
    ((_, mark),) = bench.watcher.started
    assert (mark.pid, mark.process_group) == (int(pid), int(pid))


@pytest.mark.req("AG-391", "V2-251")
async def test_no_descriptor_of_ours_reaches_a_script(bench: HookBench, tmp_path: Path) -> None:
    program = (
        "#!/usr/bin/env python3\nimport os\n"
        "for fd in range(1024):\n    try:\n        os.fstat(fd)\n    except OSError:\n        continue\n    print(fd)\n"
    )
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        await bench.run(bench.script("a.py", program))
    assert bench.watcher.texts == ["0", "1", "2"]


async def test_nothing_stays_open_with_us(bench: HookBench) -> None:
    await bench.run(bench.script("warm.sh", ""))
    before = set(os.listdir("/proc/self/fd"))
    await bench.run(*[bench.script("a.sh", "echo x")] * 3, bench.script("b.sh", "exit 1"))
    await bench.run(FakeScript(location="missing"))
    bench.script("a.bin", b"\x7fELF\0\0")
    await bench.run(FakeScript(location="a.bin"))
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.req("V2-255", "AG-387", "AG-388", "AG-X33")
async def test_umask_and_working_directory(bench: HookBench) -> None:
    before = os.umask(0o077)
    try:
        await bench.run(bench.script("a.sh", "umask; pwd"))
    finally:
        os.umask(before)
    assert [int(bench.watcher.texts[0], 8), bench.watcher.texts[1]] == [0o022, "/"]


@pytest.mark.req("V2-250")
async def test_an_audit_line_comes_before_the_process(
    bench: HookBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = posix.start
    said_before: list[str] = []

    def start(*arguments: object, **keys: object) -> posix.Child:
        said_before.extend(line["event"] for line in logs)
        return really(*arguments, **keys)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(native, "start", start)
    with capture_logs() as logs:
        await bench.run(bench.script("a.sh", "", sudo=os.geteuid() == 0))
    assert said_before == ["hook.starting"]
    own = pwd.getpwuid(os.geteuid()).pw_name
    assert logs[0] == {
        "event": "hook.starting",
        "log_level": "info",
        "lifecycle_event": "ApplicationStart",
        "script": "a.sh",
        "from_user": own,
        "to_user": "self",
        "sudo": os.geteuid() == 0,
    }
    assert logs[1]["event"] == "hook.ended"


@pytest.mark.req("AG-379")
async def test_a_script_may_start_other_scripts_of_the_revision(bench: HookBench) -> None:
    bench.script("lib/other.sh", "echo other")
    await bench.run(bench.script("a.sh", '"$FERRYMAN_REVISION_DIR/lib/other.sh"'))
    assert bench.watcher.texts == ["other"]


async def test_without_pidfds_a_thread_sees_the_exit(
    bench: HookBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", unknown)
    found = await bench.run(bench.script("a.sh", "echo ran; exit 4"))
    assert found.exit_status == 4


@pytest.mark.req("AG-412", "AG-S05")
async def test_a_slow_script_is_remarked_on_at_80_percent(bench: HookBench) -> None:
    clock = bench.clock = ManualAgentClock()
    gate = bench.gate()
    running = asyncio.create_task(
        bench.run(bench.script("a.sh", f"echo up; {gate.wait}", timeout_seconds=100))
    )
    await bench.watcher.until_line("up")
    await clock.until_sleeping(80)
    clock.advance(80)
    await bench.watcher.until_line("Warning - a.sh has used 80% of its 100 seconds")
    gate.open()
    assert (await running).is_success


async def test_settings_are_those_documented() -> None:
    settings = HookSettings()
    assert (settings.kill_grace_seconds, settings.outputs_grace_seconds) == (5, 10)
