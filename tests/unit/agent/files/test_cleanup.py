"""The cleanup journal's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferryman_agent.files.cleanup import Journal, JournalWriter, read_journal, write_journal
from ferryman_agent.system import fs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dg-cleanup"


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.req("AG-160", "AG-C33")
def test_one_absolute_path_a_line(path: Path) -> None:
    write_journal(path, Journal(("/srv/app", "/srv/app/a b", "/srv/äö")))
    assert path.read_bytes() == "/srv/app\n/srv/app/a b\n/srv/äö\n".encode()
    assert read_journal(path).paths == ("/srv/app", "/srv/app/a b", "/srv/äö")
    assert read_journal(path).is_clean


@pytest.mark.req("AG-164", "AG-T45", "V2-186", "V2-187")
@pytest.mark.parametrize(
    "name",
    [
        "/a\nb",
        "/a\r",
        "/ a",
        "/a ",
        "/a\t",
        os.fsdecode(b"/\xff\xfe"),
        '/"quoted"',
        "/\u2028",
        "/semanage",
        "/a\\n",
    ],
)
def test_odd_names_round_trip(path: Path, name: str) -> None:
    names = ("/before", name, "/after")
    write_journal(path, Journal(names))
    assert read_journal(path).paths == names
    path.unlink()
    writer = JournalWriter(path)
    writer.add(names[:2])
    writer.add(names[2:])
    writer.close()
    assert read_journal(path).paths == names


@pytest.mark.req("AG-162", "AG-T45", "V2-182")
def test_an_unfinished_last_line_is_left_out(path: Path) -> None:
    journal = read_journal(write(path, b"/srv/a\n/srv/app-da"))
    assert journal.paths == ("/srv/a",)
    assert not journal.is_clean


@pytest.mark.req("V2-184")
def test_lines_that_mean_nothing_are_left_out_and_the_rest_is_used(path: Path) -> None:
    journal = read_journal(
        write(path, b'/a\n\nrelative\n/nul\0x\n"broken\n["/x"]\n"/esc/../../x"\n/b/../c\n/d\n')
    )
    assert journal.paths == ("/a", "/c", "/d")
    assert "5 lines" in journal.warnings[0]


@pytest.mark.req("AG-160", "V2-185")
def test_selinux_records_are_kept_as_they_are(path: Path) -> None:
    journal = read_journal(write(path, b"/a\nsemanage\0/srv/x\n"))
    assert journal.paths == ("/a",)
    write_journal(path, journal)
    assert path.read_bytes() == b"semanage\0/srv/x\n/a\n"


@pytest.mark.req("V2-181")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_journal_that_others_can_write_is_not_believed_and_goes(path: Path, mode: int) -> None:
    journal = read_journal(write(path, b"/etc/passwd\n", mode))
    assert journal.paths == ()
    assert "others" in journal.warnings[0]
    assert not path.exists()


@pytest.mark.req("V2-181")
def test_a_link_in_its_place_is_not_believed_and_goes(path: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "target", b"/etc/passwd\n")
    path.symlink_to(target)
    assert read_journal(path).paths == ()
    assert target.exists()
    assert not path.is_symlink()


def test_another_groups_journal_is_only_read(path: Path) -> None:
    assert read_journal(write(path, b"/a\n", 0o666), keep=True).paths == ()
    assert path.exists()


def test_none_yet(path: Path) -> None:
    assert read_journal(path) == Journal()


@pytest.mark.req("V2-288")
def test_random_bytes_are_no_problem(path: Path) -> None:
    journal = read_journal(write(path, bytes(range(256)) * 4 + b"\n"))
    assert all(one.startswith("/") for one in journal.paths)


@pytest.mark.req("AG-163", "AG-X28")
def test_each_entry_is_on_the_disk_before_anything_is_done_to_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: list[bytes] = []
    real = fs.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        on_disk.append(path.read_bytes())

    monkeypatch.setattr(fs, "fsync", fsync)
    writer = JournalWriter(path)
    writer.add(["/srv/a", "/srv/b"])
    assert on_disk[-1:] == [b"/srv/a\n/srv/b\n"]
    writer.add(["/srv/c"])
    assert on_disk[-1] == path.read_bytes()
    writer.close()


lines = st.lists(
    st.text('/.ab \r"\0\x1fé', max_size=9).map(lambda text: f"/{text}"[text[:1] == "/" :]), max_size=5
)


@pytest.mark.req("V2-184", "AG-164")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines)
def test_lines_looked_at_together_mean_what_they_mean_one_by_one(path: Path, given_lines: list[str]) -> None:
    content = b"".join(f"{line}\n".encode() for line in given_lines)
    together = read_journal(write(path, content))
    # A path in quotes is nothing ordinary: each line is looked at.
    one_by_one = read_journal(write(path, content + b'"/quoted"\n'))
    assert (*together.paths, "/quoted") == one_by_one.paths
    assert together.is_clean == one_by_one.is_clean
