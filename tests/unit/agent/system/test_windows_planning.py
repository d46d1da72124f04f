"""What Windows gets and sees of the agent, as far as it is planned rather than done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ferryman_agent.bundles.formats import Format, check_declared
from ferryman_agent.core.messages import BundleType
from ferryman_agent.errors import BundleError
from ferryman_agent.host import trust
from ferryman_agent.system import own, windows, windows_accounts, windows_acl, windows_places, windows_signal
from ferryman_agent.system.windows_variables import base_variables


@pytest.mark.req("V2-285")
def test_state_is_for_the_system_and_administrators_and_inherits_nothing() -> None:
    assert windows_acl.plan(is_folder=True) == "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
    assert windows_acl.plan(is_folder=False) == "D:P(A;;FA;;;SY)(A;;FA;;;BA)"


@pytest.mark.req("V2-285")
@pytest.mark.parametrize("close", [windows.protect, windows.restrict])
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o711, 0o755])
def test_every_folder_of_the_agent_is_closed(
    mode: int, close: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(windows_acl, "protect", closed.append)
    close(Path("C:\\ProgramData\\Ferryman\\state"), mode)
    assert closed == ["\\\\?\\C:\\ProgramData\\Ferryman\\state"]


@pytest.mark.req("AG-532", "AG-533", "CP-080")
def test_places_are_below_program_data() -> None:
    found = windows_places.places({"ProgramData": "D:\\Data"})
    assert found.directories["root_dir"] == "D:\\Data\\Amazon\\CodeDeploy"
    assert found.directories["log_dir"] == "D:\\Data\\Amazon\\CodeDeploy\\log"
    assert found.originals_config == "D:\\Data\\Amazon\\CodeDeploy\\conf.yml"
    assert found.originals_identity == "D:\\Data\\Amazon\\CodeDeploy\\conf.onpremises.yml"
    assert found.config_files == ("D:\\Data\\Ferryman\\conf.yml",)
    assert windows_places.places({}).directories["state_dir"] == "C:\\ProgramData\\Ferryman\\state"
    assert windows.log_name("anything") == "codedeploy-agent-log.txt"
    root = Path("root")
    assert windows.version_files(root) == (root / ".version",)


@pytest.mark.req("AG-532")
def test_a_junction_on_the_way_is_told_where_nobody_knows_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real" / "root").mkdir(parents=True)
    (tmp_path / "junction").symlink_to(tmp_path / "real")
    root = tmp_path / "junction" / "root"
    monkeypatch.setattr(own, "TRUSTS_LINKS", windows.TRUSTS_LINKS)
    (told,) = trust.remarks([("root_dir", root)])
    assert f"{tmp_path / 'junction'} is a link or junction" in told


@pytest.mark.req("AG-534", "AG-512")
@pytest.mark.parametrize("found", [Format.TAR, Format.GZIP, Format.BZIP2, Format.XZ])
def test_only_zip_archives_are_unpacked_there(found: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "ONLY_ZIP", windows.ONLY_ZIP)
    with pytest.raises(BundleError, match="agents on Windows take zip archives only"):
        check_declared(found, BundleType.TAR)
    assert check_declared(Format.ZIP, BundleType.ZIP) is None


@pytest.mark.req("V2-233")
def test_scripts_see_what_programs_need_and_nothing_else() -> None:
    seen = base_variables(
        {
            "Path": "C:\\bin",
            "SystemRoot": "C:\\Windows",
            "ComSpec": "C:\\cmd.exe",
            "PATHEXT": ".EXE",
            "Temp": "C:\\t",
            "TMP": "C:\\t",
            "windir": "C:\\Windows",
            "SECRET_TOKEN": "x",
            "USERPROFILE": "C:\\Users\\a",
        }
    )
    assert seen == {
        "PATH": "C:\\bin",
        "SYSTEMROOT": "C:\\Windows",
        "COMSPEC": "C:\\cmd.exe",
        "PATHEXT": ".EXE",
        "TEMP": "C:\\t",
        "TMP": "C:\\t",
        "WINDIR": "C:\\Windows",
    }
    assert base_variables({}) == {"PATHEXT": ".COM;.EXE;.BAT;.CMD"}


@pytest.mark.req("AG-540")
def test_backslashes_separate() -> None:
    assert windows.slashes("\\scripts\\run.bat") == "/scripts/run.bat"
    assert windows.joined("C:\\work", "b.zip") == "C:\\work\\b.zip"
    assert windows.joined("C:\\work", "D:\\b.zip") == "D:\\b.zip"


def test_nobody_is_found_by_name_and_the_agent_is_user_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERNAME", "HOST$")
    assert windows_accounts.getpwuid(0).pw_name == "HOST$"
    for look in (windows_accounts.getpwnam, windows_accounts.getgrnam):
        with pytest.raises(KeyError):
            look("Administrator")
    for look_number in (windows_accounts.getpwuid, windows_accounts.getgrgid):
        with pytest.raises(KeyError):
            look_number(1000)


async def test_a_service_hears_signals_that_nobody_can_send() -> None:
    heard: list[str] = []
    came = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hear(what: str) -> None:
        heard.append(what)
        came.set()

    windows.add_signal_handler(loop, windows_signal.SIGHUP, hear, "reload")
    await asyncio.to_thread(windows.deliver, windows_signal.SIGHUP)
    await came.wait()
    windows.remove_signal_handler(loop, windows_signal.SIGHUP)
    windows.deliver(windows_signal.SIGHUP)
    await asyncio.sleep(0)
    assert heard == ["reload"]
