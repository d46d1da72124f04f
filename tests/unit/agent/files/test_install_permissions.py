"""Owners, modes and ACLs of what is installed: only root may give files away."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferryman_agent.files.settings import InstallSettings

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

FILES = "files:\n  - {source: app, destination: SRV/app}\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to other users")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


@pytest.mark.req("AG-343", "AG-345", "AG-353", "AG-T47")
async def test_modes_by_type(host: Host) -> None:
    text = FILES + (
        "permissions:\n  - {object: SRV/app, mode: 600, type: [file]}\n"
        "  - {object: SRV/app, mode: 711, type: [directory]}\n"
    )
    await host.install({"app/a": b"1", "app/d/b": b"2"}, text)
    app = host.srv / "app"
    assert [mode(app / name) for name in ("a", "d/b", "d")] == [0o600, 0o600, 0o711]
    assert mode(app) == 0o755


@pytest.mark.req("AG-344", "AG-C13")
async def test_include_self(host: Host) -> None:
    text = FILES + "permissions:\n  - {object: SRV/app, mode: 700, type: [directory], include_self: true}\n"
    await host.install({"app/a": b"1"}, text)
    assert mode(host.srv / "app") == 0o700


@pytest.mark.req("AG-341")
async def test_what_existed_before_keeps_its_mode(host: Host) -> None:
    (host.srv / "app").mkdir(mode=0o755)
    (host.srv / "app/foreign").write_bytes(b"1")
    (host.srv / "app/foreign").chmod(0o644)
    text = FILES + "permissions:\n  - {object: SRV/app, mode: 400, include_self: true}\n"
    await host.install({"app/a": b"1"}, text)
    assert [mode(host.srv / "app" / name) for name in ("", "foreign", "a")] == [0o755, 0o644, 0o400]


@needs_root
@pytest.mark.req("AG-292", "AG-354", "AG-X13", "AG-T46", "AG-C09", "V2-210", "V2-197")
async def test_set_id_bits_survive_a_change_of_owner(host: Host) -> None:
    host.settings = InstallSettings(allow_set_id=True)
    text = FILES + "permissions:\n  - {object: SRV/app/a, mode: 4755, owner: daemon}\n"
    await host.install({"app/a": b"1"}, text)
    assert mode(host.srv / "app/a") == 0o4755
    assert owner(host.srv / "app/a")[0] == 1
    again = await host.install({"app/a": b"1"}, text)
    assert again.written == 0
    assert mode(host.srv / "app/a") == 0o4755


@needs_root
@pytest.mark.req("AG-354", "V2-210")
async def test_set_id_bits_survive_when_only_the_owner_of_a_kept_file_changes(host: Host) -> None:
    host.settings = InstallSettings(allow_set_id=True)
    text = FILES + "permissions:\n  - {object: SRV/app/a, mode: 4755, owner: OWNER}\n"
    await host.install({"app/a": b"1"}, text.replace("OWNER", "root"))
    report = await host.install({"app/a": b"1"}, text.replace("OWNER", "daemon"))
    assert report.corrected == 1
    assert owner(host.srv / "app/a")[0] == 1
    assert mode(host.srv / "app/a") == 0o4755


@needs_root
@pytest.mark.req("AG-352", "AG-355", "AG-X14", "V2-214", "V2-215", "V2-218")
async def test_owner_and_group_by_name_and_number_and_never_through_a_link(
    host: Host, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"1")
    precious.chmod(0o644)
    text = (
        FILES + "permissions:\n  - {object: SRV/app, owner: daemon, group: 4321, mode: 640, type: [file]}\n"
    )
    await host.install({"app/a": b"1", "app/up": "a", "app/link": str(precious)}, text)
    assert owner(host.srv / "app/a") == (1, 4321)
    assert owner(host.srv / "app/link") == (1, 4321)
    assert owner(precious) == (0, 0)
    assert mode(precious) == 0o644
    assert owner(host.srv / "app") == (0, 0)


@pytest.mark.req("AG-356", "AG-362", "AG-T52", "V2-219", "V2-220")
async def test_acls_are_set_for_each_object_from_its_own_mode(host: Host) -> None:
    uid = os.geteuid()
    text = FILES + (
        f"permissions:\n  - {{object: SRV/app, acls: ['u:{uid}:rw', 'm::rw'], type: [file]}}\n"
        f"  - {{object: SRV/app, acls: ['d:u:{uid}:rwx'], type: [directory]}}\n"
    )

    def prepare(archive: Path) -> None:
        (archive / "app/a").chmod(0o640)
        (archive / "app/b").chmod(0o600)

    try:
        os.setxattr(host.srv, "user.probe", b"1")
        os.getxattr(host.srv, "system.posix_acl_access")
    except OSError as problem:
        if problem.errno == errno.EOPNOTSUPP:
            pytest.skip("the file system of the temporary directory has no ACLs")
    await host.install({"app/a": b"1", "app/b": b"2", "app/d/c": b"3"}, text, prepare=prepare)
    rules = {name: entries(host.srv / "app" / name, "access") for name in ("a", "b")}
    assert rules["a"] == {(1, 6), (2, 6), (4, 4), (16, 6), (32, 0)}
    assert rules["b"] == {(1, 6), (2, 6), (4, 0), (16, 6), (32, 0)}
    assert entries(host.srv / "app/d", "default") == {(1, 7), (2, 7), (4, 5), (16, 5), (32, 5)}
    assert mode(host.srv / "app/a") == 0o660


@pytest.mark.req("AG-356", "V2-220")
async def test_a_default_acl_that_was_inherited_is_replaced_as_well(host: Host) -> None:
    uid = os.geteuid()
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + b"\x07\0" + b"\xff" * 4 for tag in (0x01, 0x04, 0x20)
    )
    try:
        os.setxattr(host.srv, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("the file system of the temporary directory has no ACLs")
    text = FILES + f"permissions:\n  - {{object: SRV/app, acls: ['u:{uid}:rx'], type: [directory]}}\n"
    await host.install({"app/d/c": b"3", "app/e/": b""}, text)
    for name in ("d", "e"):
        with pytest.raises(OSError, match="No data"):
            os.getxattr(host.srv / "app" / name, "system.posix_acl_default")
        assert entries(host.srv / "app" / name, "access") == {(1, 7), (2, 5), (4, 5), (16, 5), (32, 5)}


@pytest.mark.req("AG-356")
async def test_an_acl_that_somebody_gave_to_an_unchanged_file_goes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are as they were installed are not looked at for one: a new one changes the times."""
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + ident.to_bytes(4, "little")
        for tag, bits, ident in (
            (1, 6, 2**32 - 1),
            (2, 6, 1),
            (4, 4, 2**32 - 1),
            (16, 6, 2**32 - 1),
            (32, 4, 2**32 - 1),
        )
    )

    def prepare(archive: Path) -> None:
        for name in ("a", "b"):
            os.utime(archive / "app" / name, ns=(10**18, 10**18))

    # The clock of the file system moves in steps: times that were just now prove nothing yet.
    monkeypatch.setattr("ferryman_agent.files.digests._RACY_NS", -(10**9))
    looked: list[str] = []
    real = os.listxattr

    def noting(path: str, *, follow_symlinks: bool = True) -> list[str]:
        looked.append(path)
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "listxattr", noting)
    files = {"app/a": b"1", "app/b": b"2"}
    await host.install(files, FILES, prepare=prepare)
    await host.install(files, FILES, prepare=prepare)
    assert not {path for path in looked if path.endswith(("/a", "/b"))}
    try:
        os.setxattr(host.srv / "app/a", "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("the file system of the temporary directory has no ACLs")
    report = await host.install(files, FILES, prepare=prepare)
    assert (report.kept, report.corrected) == (1, 1)
    with pytest.raises(OSError, match="No data"):
        os.getxattr(host.srv / "app/a", "system.posix_acl_access")


@pytest.mark.req("AG-362", "V2-222")
async def test_a_file_system_without_acls_is_named_and_the_host_restored(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    await host.install({"app/old": b"1"}, FILES)
    monkeypatch.setattr(os, "setxattr", refuse)
    text = FILES + "permissions:\n  - {object: SRV/app, acls: ['u:0:r'], type: [file]}\n"
    error = await host.refused({"app/a": b"1"}, text)
    assert error.detail_code == "PERM_ACL_UNSUPPORTED"
    assert f"{host.srv}/app/a" in error.message


def entries(path: Path, kind: str) -> set[tuple[int, int]]:
    """Tag and permissions of each entry of an ACL, as the kernel has it."""
    raw = os.getxattr(path, f"system.posix_acl_{kind}")[4:]
    return {
        (int.from_bytes(raw[at : at + 2], "little"), int.from_bytes(raw[at + 2 : at + 4], "little"))
        for at in range(0, len(raw), 8)
    }


@pytest.mark.req("V2-216")
async def test_set_id_modes_are_refused_by_default(host: Host) -> None:
    error = await host.refused({"app/a": b"1"}, FILES + "permissions:\n  - {object: SRV/app, mode: 2755}\n")
    assert error.detail_code == "PERM_MODE_SET_ID"


@pytest.mark.req("AG-350", "AG-T50", "AG-V41", "V2-195")
async def test_two_entries_for_one_object_change_nothing(host: Host) -> None:
    text = FILES + "permissions:\n  - {object: SRV/app, mode: 600}\n  - {object: SRV/app/a, mode: 644}\n"
    error = await host.refused({"app/a": b"1"}, text)
    assert error.detail_code == "PERM_DUPLICATE"


@pytest.mark.req("AG-V39", "AG-V40", "V2-212")
async def test_a_pattern_on_a_file_changes_nothing(host: Host) -> None:
    text = FILES + "permissions:\n  - {object: SRV/app/a, mode: 600, pattern: '*.txt'}\n"
    assert (await host.refused({"app/a": b"1"}, text)).detail_code == "PERM_FILE_PATTERN"


@pytest.mark.req("AG-T51", "V2-211")
@needs_root
async def test_the_guides_example_with_its_result(host: Host) -> None:
    files = {f"app/my-file-{n}.txt": b"1" for n in (1, 2, 3)}
    files |= {f"app/my-folder-1/my-file-{n}.txt": b"1" for n in (4, 5, 6)}
    files |= {f"app/my-folder-2/my-file-{n}.txt": b"1" for n in (7, 8, 9)} | {
        "app/my-folder-2/my-folder-3/": b""
    }
    text = (
        FILES
        + """permissions:
  - {object: SRV/app, pattern: "*-3.txt", owner: "11", group: "12", mode: 464, type: [file]}
  - {object: SRV/app, pattern: "*.txt", except: [my-file-3.txt], owner: "13", mode: 444, type: [file]}
  - {object: SRV/app/my-folder-1, except: [my-file-4.txt, my-file-5.txt], owner: "14", mode: 646, type: [file]}
  - {object: SRV/app/my-folder-2, except: [my-file-8.txt], owner: "13", mode: 777, type: [file]}
  - {object: SRV/app, pattern: "*my-folder*", except: [SRV/app/my-folder-2/my-folder-3], owner: "13", mode: 555,
     type: [directory]}
  - {object: SRV/app/my-folder-2/my-folder-3, include_self: true, group: "12", mode: 564, type: [directory]}
"""
    )
    await host.install(files, text)

    def found(name: str) -> tuple[int, int, int]:
        path = host.srv / "app" / name
        return mode(path), *owner(path)

    assert found("my-file-1.txt") == found("my-file-2.txt") == (0o444, 13, 0)
    assert found("my-file-3.txt") == (0o464, 11, 12)
    assert found("my-folder-1") == found("my-folder-2") == (0o555, 13, 0)
    for name in ("1/my-file-4.txt", "1/my-file-5.txt", "2/my-file-8.txt"):
        assert found(f"my-folder-{name}") == (0o644, 0, 0)
    assert found("my-folder-1/my-file-6.txt") == (0o646, 14, 0)
    assert found("my-folder-2/my-file-7.txt") == found("my-folder-2/my-file-9.txt") == (0o777, 13, 0)
    assert found("my-folder-2/my-folder-3") == (0o564, 0, 12)
