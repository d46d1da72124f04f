"""What is found out about a script before it starts."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ferryman_agent.core.messages import ScriptErrorCode
from ferryman_agent.hooks import checks
from ferryman_agent.hooks.environment import Account, Refusal
from tests.support.hook_runs import open_folder

OTHER = Account(
    name="app", uid=54321, gid=54321, groups=(54321, 54322), home="/", login_shell="/bin/sh", is_switch=True
)
SELF = Account(
    name="me", uid=os.geteuid(), gid=os.getegid(), groups=(), home="/", login_shell="/bin/sh", is_switch=False
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "a.sh").write_text("#!/bin/sh\n")
    return folder


def refused(found: object) -> Refusal:
    assert isinstance(found, Refusal)
    return found


@pytest.mark.req("AG-370", "V2-246")
@pytest.mark.parametrize("location", ["a.sh", "/a.sh", "//a.sh", "./a.sh", "x/../a.sh"])
def test_a_location_is_inside_the_revision(archive: Path, location: str) -> None:
    (archive / "x").mkdir()
    assert checks.presence(archive, location) is None
    assert checks.script_path(archive, location).samefile(archive / "a.sh")


@pytest.mark.req("V2-246")
def test_what_leads_outside_is_refused_alike_whether_it_exists_or_not(archive: Path) -> None:
    (archive.parent / "there.sh").write_text("")
    answers = [refused(checks.presence(archive, location)) for location in ("../there.sh", "../nothere.sh")]
    assert {answer.detail_code for answer in answers} == {"SCRIPT_LOCATION_ESCAPES"}
    assert answers[0].message.replace("there", "nothere") == answers[1].message
    assert checks.presence(archive, "..") == refused(checks.presence(archive, ".."))
    assert refused(checks.presence(archive, "/")).detail_code == "SCRIPT_LOCATION_ESCAPES"


@pytest.mark.req("V2-246")
def test_a_link_out_of_the_revision_is_refused(archive: Path) -> None:
    (archive / "link.sh").symlink_to("/bin/sh")
    (archive / "folder").symlink_to("/bin")
    for location in ("link.sh", "folder/sh"):
        assert refused(checks.presence(archive, location)).detail_code == "SCRIPT_LOCATION_ESCAPES"


@pytest.mark.req("AG-371", "AG-E01")
def test_a_missing_script_is_code_1_with_its_absolute_path(archive: Path) -> None:
    refusal = refused(checks.presence(archive, "b.sh"))
    assert (refusal.error_code, refusal.detail_code) == (ScriptErrorCode.SCRIPT_MISSING, "SCRIPT_MISSING")
    assert str(archive / "b.sh") in refusal.message


@pytest.mark.req("AG-374")
def test_a_directory_is_code_2_and_said_to_be_one(archive: Path) -> None:
    (archive / "scripts").mkdir()
    refusal = refused(checks.presence(archive, "scripts"))
    assert (refusal.error_code, refusal.detail_code) == (
        ScriptErrorCode.SCRIPT_NOT_EXECUTABLE,
        "SCRIPT_IS_DIRECTORY",
    )
    assert "directory" in refusal.message


@pytest.mark.req("AG-373", "V2-245")
def test_execute_bits_are_added_for_all_and_nothing_else(archive: Path) -> None:
    path = archive / "a.sh"
    path.chmod(0o640)
    assert checks.make_executable(path, "a.sh") is True
    assert path.stat().st_mode & 0o7777 == 0o751
    assert checks.make_executable(path, "a.sh") is False


@pytest.mark.req("AG-373", "V2-245", "AG-E02")
def test_what_cannot_be_made_executable_is_code_2(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(self: Path, mode: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "chmod", read_only)
    refusal = refused(checks.make_executable(archive / "a.sh", "a.sh"))
    assert refusal.error_code is ScriptErrorCode.SCRIPT_NOT_EXECUTABLE
    assert "Read-only file system" in refusal.message


@pytest.mark.req("AG-376")
@pytest.mark.parametrize(
    "head, detail_code, fact",
    [
        (b"#!/bin/sh\r\necho\r\n", "SCRIPT_CARRIAGE_RETURN", "carriage return"),
        (b"#!/usr/bin/env python3\r\n", "SCRIPT_CARRIAGE_RETURN", "carriage return"),
        (b"#!/opt/no/such/shell -e\necho\n", "SCRIPT_INTERPRETER_MISSING", "/opt/no/such/shell"),
        (b"#! /opt/no/such/shell", "SCRIPT_INTERPRETER_MISSING", "/opt/no/such/shell"),
    ],
)
def test_why_a_first_line_cannot_work(archive: Path, head: bytes, detail_code: str, fact: str) -> None:
    (archive / "a.sh").write_bytes(head)
    refusal = refused(checks.startable(archive / "a.sh", "a.sh", SELF))
    assert (refusal.error_code, refusal.detail_code) == (ScriptErrorCode.SCRIPT_FAILED, detail_code)
    assert fact in refusal.message


@pytest.mark.parametrize("head", [b"", b"echo\r\n", b"#!/bin/sh -e\n", b"#! /bin/sh\n", b"#!\n", b"\x7fELF"])
def test_first_lines_that_may_work(archive: Path, head: bytes) -> None:
    (archive / "a.sh").write_bytes(head)
    assert checks.startable(archive / "a.sh", "a.sh", SELF) is None


@pytest.mark.req("AG-376")
def test_a_noexec_mount_is_named(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_NOEXEC))
    refusal = refused(checks.startable(archive / "a.sh", "a.sh", SELF))
    assert refusal.detail_code == "SCRIPT_NOEXEC_MOUNT"
    assert "noexec" in refusal.message


@pytest.mark.req("AG-398")
def test_which_component_is_closed_to_the_user() -> None:
    with open_folder() as folder:
        closed = folder / "scripts"
        closed.mkdir()
        script = closed / "a.sh"
        script.write_text("#!/bin/sh\n")
        closed.chmod(0o755)
        script.chmod(0o755)
        assert checks.startable(script, "a.sh", OTHER) is None
        closed.chmod(0o750)
        refusal = refused(checks.startable(script, "a.sh", OTHER))
        assert refusal.detail_code == "SCRIPT_PATH_CLOSED"
        assert f"the directory {closed} is closed" in refusal.message
        assert "0750" in refusal.message
        closed.chmod(0o755)
        script.chmod(0o711)
        assert f"the file {script} is closed" in refused(checks.startable(script, "a.sh", OTHER)).message


@pytest.mark.req("AG-422")
@pytest.mark.parametrize("number", [errno.ENOEXEC, errno.E2BIG, errno.EACCES, errno.ETXTBSY])
def test_spawn_errors_are_code_4_with_the_systems_words(archive: Path, number: int) -> None:
    error = OSError(number, os.strerror(number))
    refusal = checks.why_not_started(archive / "a.sh", "a.sh", error)
    assert refusal.error_code is ScriptErrorCode.SCRIPT_FAILED
    assert os.strerror(number) in refusal.message
