"""How scripts are started on Windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_agent.core.messages import ScriptErrorCode
from ferryman_agent.hooks import windows, windows_checks
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.hooks.environment import Refusal, own_account
from ferryman_agent.hooks.windows import ExitStatus
from ferryman_agent.hooks.windows_command import LONGEST_PATH, ScriptKind, command_line, kind_of

ROOT = "C:\\Windows"


@pytest.mark.parametrize(
    "name, kind",
    [
        ("a.bat", ScriptKind.BATCH),
        ("A.CMD", ScriptKind.BATCH),
        ("scripts\\a.Ps1", ScriptKind.POWERSHELL),
        ("tool.exe", ScriptKind.PROGRAM),
        ("tool.com", ScriptKind.PROGRAM),
        ("a.sh", None),
        ("a", None),
        ("a.bat\\x", None),
    ],
)
def test_the_end_of_its_name_says_what_a_script_is(name: str, kind: ScriptKind | None) -> None:
    assert kind_of(name) is kind


def test_batch_files_run_in_cmd_with_their_blanks_and_signs() -> None:
    line = command_line("C:\\my data\\a & b (1)^.bat", ROOT)
    assert line == 'C:\\Windows\\System32\\cmd.exe /d /s /c ""C:\\my data\\a & b (1)^.bat""'


@pytest.mark.req("V2-253")
def test_powershell_runs_without_a_profile_and_asks_nobody() -> None:
    assert command_line("C:\\my data\\a.ps1", ROOT) == (
        "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"
        ' -ExecutionPolicy Bypass -NoProfile -NonInteractive -File "C:\\my data\\a.ps1"'
    )


@pytest.mark.req("AG-535", "AG-S11", "V2-253")
def test_the_compat_profile_runs_powershell_as_the_original_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEMROOT", ROOT)
    settings = HookSettings(powershell_profile=True)
    assert windows.command_of(Path("C:\\a.ps1"), settings) == (
        "C:\\Windows\\SysWOW64\\WindowsPowerShell\\v1.0\\powershell.exe -ExecutionPolicy Bypass -File C:\\a.ps1"
    )
    assert "System32" in windows.command_of(Path("C:\\a.ps1"), HookSettings())


def test_programs_are_started_as_they_are() -> None:
    assert command_line("C:\\my data\\setup.exe", ROOT) == '"C:\\my data\\setup.exe"'


@pytest.mark.req("AG-535")
@pytest.mark.parametrize("name", ["a.ps1", "a.bat", "a.cmd", "a.exe"])
def test_nothing_has_to_be_made_executable(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("")
    path.chmod(0o600)
    assert windows_checks.make_executable(path, name) is False
    assert windows_checks.startable(path, name, own_account()) is None
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "path, location, says",
    [
        ("C:\\x\\a.sh", "a.sh", "none of .bat, .cmd, .ps1, .exe, .com"),
        ("C:\\100%\\a.bat", "a.bat", "percent sign"),
        ("C:\\" + "d" * LONGEST_PATH + "\\a.ps1", "a.ps1", "longer than 259 characters"),
    ],
)
def test_what_cannot_be_started_is_refused_with_the_reason(path: str, location: str, says: str) -> None:
    refusal = windows_checks.startable(Path(path), location, own_account())
    assert isinstance(refusal, Refusal)
    assert refusal.error_code is ScriptErrorCode.SCRIPT_NOT_EXECUTABLE
    assert location in refusal.message
    assert says in refusal.message


@pytest.mark.req("AG-539")
def test_programs_may_lie_as_deep_as_they_like() -> None:
    path = Path("C:\\" + "d" * LONGEST_PATH + "\\a.exe")
    assert windows_checks.startable(path, "a.exe", own_account()) is None


def test_faults_have_their_well_known_number() -> None:
    assert str(ExitStatus(code=3)) == "exit status 3"
    assert str(ExitStatus(code=0xC0000005)) == "exit status 3221225477 (0xC0000005)"
    assert ExitStatus(code=0).is_success
    assert not ExitStatus(code=1).is_success
