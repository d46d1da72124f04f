"""A look into archives, friendly and hostile: right about the first, unharmed by the second."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ferryman.appspec import EntryKind
from ferryman.archives import (
    DOCUMENT_LIMIT,
    ArchiveProblem,
    Contents,
    detect_type,
    read_contents,
)
from tests.support.bundles import MAKERS, Item

Files = dict[str, bytes]


def as_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def as_tar(path: Path, files: Files, mode: str = "w", format_: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=format_) as archive:  # type: ignore[call-overload]  # the mode varies
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if name.endswith("/"):
                member.type, member.size = tarfile.DIRTYPE, 0
            archive.addfile(member, io.BytesIO(content))
    return path


def as_tgz(path: Path, files: Files) -> Path:
    return as_tar(path, files, "w:gz")


def as_gnu(path: Path, files: Files) -> Path:
    return as_tar(path, files, "w", tarfile.GNU_FORMAT)


PACKERS = pytest.mark.parametrize("pack", [as_zip, as_tar, as_tgz, as_gnu])
Packer = Callable[[Path, Files], Path]

APP = b"version: 0.0\nos: linux\n"


@PACKERS
def test_it_finds_the_app_spec_between_other_files(tmp_path: Path, pack: Packer) -> None:
    contents = read_contents(
        pack(
            tmp_path / "a",
            {
                "big": bytes(5_000_000),
                "./scripts/start.sh": b"x",
                "appspec.yml": APP,
                "z/appspec.yml": b"other",
            },
        )
    )
    assert contents.root == ""
    assert contents.documents == {"appspec.yml": APP}
    assert contents.at_root()["scripts/start.sh"] is EntryKind.FILE


@PACKERS
def test_a_single_top_folder_is_the_root(tmp_path: Path, pack: Packer) -> None:
    files = {
        "web-1/": b"",
        "web-1/appspec.yml": APP,
        "web-1/scripts/start.sh": b"",
        "__MACOSX/x": b"",
        ".DS_Store": b"",
    }
    contents = read_contents(pack(tmp_path / "a", files))
    assert contents.root == "web-1/"
    assert contents.documents == {"web-1/appspec.yml": APP}
    assert sorted(contents.at_root()) == ["appspec.yml", "scripts", "scripts/start.sh"]


@PACKERS
def test_a_second_top_entry_means_that_there_is_no_top_folder(tmp_path: Path, pack: Packer) -> None:
    contents = read_contents(pack(tmp_path / "a", {"web/appspec.yml": APP, "readme": b""}))
    assert contents.root == ""
    assert contents.documents == {}


def test_names_longer_than_a_tar_header_are_read_whole(tmp_path: Path) -> None:
    name = "/".join(["long"] * 60)
    for pack in (as_tar, as_gnu, as_tgz, as_zip):
        assert (
            name in read_contents(pack(tmp_path / pack.__name__, {name: b"1", "appspec.yml": APP})).at_root()
        )


@pytest.mark.parametrize(
    "pack,kind",
    [(as_zip, "zip"), (as_tar, "tar"), (as_gnu, "tar"), (as_tgz, "tgz")],
)
def test_the_kind_is_found_by_content(tmp_path: Path, pack: Packer, kind: str) -> None:
    path = pack(tmp_path / "named.anything", {"appspec.yml": APP})
    assert detect_type(path) == kind
    assert read_contents(path).found_type == kind


@pytest.mark.parametrize(
    "content,hint",
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>sign in</html>", "it is an HTML page"),
        (b"just text", "it has 9 bytes and begins with b'just text'"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes, hint: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ArchiveProblem) as caught:
        read_contents(path)
    assert hint in str(caught.value)


@PACKERS
def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path, pack: Packer) -> None:
    path = pack(tmp_path / "a", {"appspec.yml": APP, "data": bytes(range(256)) * 400})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArchiveProblem, match="cut short"):
        read_contents(path)


@PACKERS
@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd"])
def test_an_entry_that_leaves_the_directory_is_refused_by_name(
    tmp_path: Path, pack: Packer, name: str
) -> None:
    path = pack(tmp_path / "a", {"appspec.yml": APP, name: b"x"})
    with pytest.raises(ArchiveProblem, match="leaves the target directory") as caught:
        read_contents(path)
    assert repr(name) in str(caught.value)


def test_a_device_is_refused_by_name(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        member = tarfile.TarInfo("dev/null")
        member.type = tarfile.CHRTYPE
        archive.addfile(member)
    with pytest.raises(ArchiveProblem, match="'dev/null' is a device"):
        read_contents(tmp_path / "a")


@PACKERS
def test_a_huge_app_spec_is_read_only_to_its_limit(tmp_path: Path, pack: Packer) -> None:
    path = pack(tmp_path / "a", {"appspec.yml": b"#" * 10_000_000})
    assert peak(path) < 8_000_000
    assert len(read_contents(path).documents["appspec.yml"]) == DOCUMENT_LIMIT + 1


def peak(path: Path) -> int:
    """The most memory that reading took; tolerates that the archive is refused."""
    tracemalloc.start()
    try:
        read_contents(path)
    except ArchiveProblem:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def test_a_tgz_that_unpacks_to_absurdly_much_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferryman.archives._RATIO_SLACK", 1_000_000)
    path = tmp_path / "bomb"
    header = tarfile.TarInfo("zeros")
    header.size = 1 << 33
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.tobuf())
        for _ in range(30):
            file.write(bytes(1 << 20))
    with pytest.raises(ArchiveProblem, match="absurdly more"):
        read_contents(path)


def test_a_tar_header_that_claims_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        header = tarfile.TarInfo("x")
        header.type = kind
        header.size = 1 << 30
        path = tmp_path / f"claims-{kind.decode()}"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(header.tobuf() + bytes(30 << 20))
        assert peak(path) < 12_000_000
        with pytest.raises(ArchiveProblem, match="has a header of"):
            read_contents(path)


def test_a_chain_of_tar_headers_without_end_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 0
    (tmp_path / "a").write_bytes(header.tobuf() * 5_000)
    with pytest.raises(ArchiveProblem, match="damaged"):
        read_contents(tmp_path / "a")


def test_a_zip_whose_table_of_contents_is_huge_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "a", {"appspec.yml": APP})
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x05\x06")
    struct.pack_into("<L", content, at + 12, 200_000_000)
    path.write_bytes(content)
    with pytest.raises(ArchiveProblem, match="table of contents of 200000000 bytes"):
        read_contents(path)


def test_zip_that_hides_the_size_of_its_table_of_contents(tmp_path: Path) -> None:
    """The library believes the record for large archives whether or not the usual one refers to it."""
    path = as_zip(tmp_path / "b.zip", {"appspec.yml": b"x"})
    directory = 64 * 1024 * 1024
    with path.open("r+b") as file:
        body = file.read()[:-22]
        file.truncate(len(body) + directory)
        at = file.seek(len(body) + directory)
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, directory, len(body)))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, at, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 100, len(body), 0))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveProblem, match=f"a part of {directory} bytes"):
            read_contents(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_an_app_spec_packed_by_a_method_that_cannot_be_bounded_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("appspec.yml", b"#" * 5_000_000)
    with pytest.raises(ArchiveProblem, match="other than store and deflate"):
        read_contents(tmp_path / "a")


def test_an_encrypted_app_spec_is_refused(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "a", {"appspec.yml": APP})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveProblem, match="is encrypted"):
        read_contents(path)


def test_more_entries_than_sensible_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.archives.ENTRY_LIMIT", 5)
    for pack in (as_zip, as_tgz):
        path = pack(tmp_path / pack.__name__, {f"f{number}": b"" for number in range(6)})
        with pytest.raises(ArchiveProblem, match="more than 5 entries"):
            read_contents(path)


def test_many_folders_with_an_app_spec_each_take_no_memory(tmp_path: Path) -> None:
    path = as_tgz(tmp_path / "a", {f"{number}/appspec.yml": b"#" * 1_000_000 for number in range(30)})
    assert peak(path) < 8_000_000
    assert read_contents(path).documents == {}


@pytest.mark.parametrize("kind", ["zip", "tgz"])
@pytest.mark.parametrize(
    "name, target", [("l", "/etc/passwd"), ("d/l", "../../x"), ("d/l", "e/../../../x"), ("l", "..")]
)
@pytest.mark.req("AG-256")
def test_a_link_that_leaves_the_directory_is_refused_by_name(
    tmp_path: Path, kind: str, name: str, target: str
) -> None:
    maker, _ = MAKERS[kind]
    entries = [Item(name="appspec.yml", content=APP), Item(name=name, link=target)]
    (tmp_path / "a").write_bytes(maker(entries))
    with pytest.raises(ArchiveProblem, match="symbolic link that leaves the target directory") as caught:
        read_contents(tmp_path / "a")
    assert repr(name) in str(caught.value)
    assert repr(target) in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "tgz"])
@pytest.mark.parametrize("target", ["../appspec.yml", "e/../f", "./f", "f"])
def test_a_link_that_stays_inside_is_no_matter(tmp_path: Path, kind: str, target: str) -> None:
    maker, _ = MAKERS[kind]
    (tmp_path / "a").write_bytes(
        maker([Item(name="appspec.yml", content=APP), Item(name="d/l", link=target)])
    )
    assert read_contents(tmp_path / "a").at_root()["d/l"] is EntryKind.LINK


def test_where_other_links_lead_is_left_to_the_agents(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        member = tarfile.TarInfo("current")
        member.type, member.linkname = tarfile.SYMTYPE, "releases/1"
        archive.addfile(member)
    contents = read_contents(tmp_path / "a")
    assert contents.at_root() == {"current": EntryKind.LINK}
    assert isinstance(contents, Contents)


def test_names_that_are_no_unicode_are_no_matter(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("caf\xe9"))
        archive.addfile(tarfile.TarInfo("../caf\xe9"))
    with pytest.raises(ArchiveProblem) as caught:
        read_contents(tmp_path / "a")
    str(caught.value).encode()
