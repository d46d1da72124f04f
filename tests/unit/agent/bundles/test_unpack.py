"""Archives of every kind: what is kept, what is refused, and that nothing gets out."""

from __future__ import annotations

import bz2
import errno
import io
import lzma
import os
import stat
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.bundles.directory_source import DirectorySource
from ferryman_agent.bundles.formats import Format, check_declared, detect
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.sources import Source
from ferryman_agent.bundles.tar_source import TarSource
from ferryman_agent.bundles.unpack import Stopped, Unpacked, unpack
from ferryman_agent.bundles.zip_source import ZipSource
from ferryman_agent.core.messages import BundleType
from ferryman_agent.errors import BundleError
from tests.support.bundles import MAKERS, Item, items, make_tar, make_zip, tree

LIMITS = BundleLimits(disk_reserve_bytes=0)
KINDS = list(MAKERS)


def unpack_bytes(
    data: bytes, destination: Path, limits: BundleLimits = LIMITS, stop: threading.Event | None = None
) -> Unpacked:
    path = destination.parent / "bundle"
    path.write_bytes(data)
    with path.open("rb") as file:
        found = detect(file.fileno(), len(data))
        source: Source = ZipSource(file) if found is Format.ZIP else TarSource(file, found)
        return unpack(source, destination, limits, packed_bytes=len(data), stop=stop)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where to unpack: with neighbours that must stay as they are."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_bytes(b"precious")
    (tmp_path / "work").mkdir()
    return tmp_path / "work" / "archive"


def refused(
    kind: str,
    entries: Sequence[Item],
    place: Path,
    limits: BundleLimits = LIMITS,
    code: str = "BUNDLE_UNSAFE_ENTRY",
) -> str:
    """Sees that an archive is refused, that nothing is left of it and nothing else changed; returns the message."""
    before = tree(place.parent.parent)
    with pytest.raises(BundleError) as error:
        unpack_bytes(MAKERS[kind][0](entries), place, limits)
    assert error.value.detail_code == code, error.value
    (place.parent / "bundle").unlink()
    assert tree(place.parent.parent) == before
    return error.value.message


GOOD = [
    Item(name="top/"),
    Item(name="top/script.sh", content=b"#!/bin/sh\n", mode=0o755),
    Item(name="top/empty"),
    Item(name="top/link", link="script.sh"),
    Item(name="deep/er/file", content=b"x" * 3_000_000, mode=0o600),
    Item(name="./dotted", content=b"y"),
    Item(name="ümlaut", content=b"z"),
    Item(name="closed/", mode=0o555),
    Item(name="closed/inside", content=b"in"),
]


@pytest.mark.req("AG-245", "AG-246", "AG-247", "AG-T14", "V2-124", "V2-118", "AG-308")
@pytest.mark.parametrize("kind", KINDS)
def test_content_modes_times_and_links_are_kept(kind: str, place: Path) -> None:
    unpacked = unpack_bytes(MAKERS[kind][0](GOOD), place)
    assert (place / "deep/er/file").read_bytes() == b"x" * 3_000_000
    assert (place / "dotted").read_bytes() == b"y"
    assert (place / "ümlaut").read_bytes() == b"z"
    assert os.readlink(place / "top/link") == "script.sh"
    modes = {
        name: stat.S_IMODE((place / name).lstat().st_mode)
        for name in ("top/script.sh", "deep/er/file", "top/empty")
    }
    assert modes == {"top/script.sh": 0o755, "deep/er/file": 0o600, "top/empty": 0o644}
    # Whatever the archive says, the owner can get into a folder and remove it again.
    assert stat.S_IMODE((place / "closed").stat().st_mode) == 0o755
    if kind != "zip":
        assert (place / "top/script.sh").stat().st_mtime == 1_700_000_000
    assert unpacked.files == 6
    assert unpacked.written_bytes == 3_000_000 + 10 + 1 + 1 + 2
    assert set(unpacked.digests.rows) == {
        "top/script.sh", "top/empty", "deep/er/file", "dotted", "ümlaut", "closed/inside",
    }  # fmt: skip


@pytest.mark.req("AG-245", "AG-235", "AG-T04")
@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_compression_is_found_by_content(compression: str, place: Path) -> None:
    unpack_bytes(make_tar(GOOD, compression), place)
    assert (place / "dotted").read_bytes() == b"y"


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_zip_methods(method: int, place: Path) -> None:
    unpack_bytes(make_zip(GOOD, method), place)
    assert (place / "deep/er/file").read_bytes() == b"x" * 3_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_archive_is_an_empty_folder(kind: str, place: Path) -> None:
    unpack_bytes(MAKERS[kind][0]([]), place)
    assert os.listdir(place) == []


# What must never happen


@pytest.mark.req("AG-256", "AG-T11", "V2-103", "V2-105", "V2-115")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/abs/evil",
        "a/../../evil",
        "..",
        "a/..",
        "./../evil",
        "..\\evil",
        "C:\\evil",
        "C:/evil",
        "\\\\host\\evil",
    ],
)
def test_names_that_leave(kind: str, name: str, place: Path) -> None:
    message = refused(kind, [Item(name="good", content=b"1"), Item(name=name, content=b"evil")], place)
    assert "leaves the target directory" in message
    assert repr(name) in message
    if ".." in name:
        assert "path-traversal component" in message


@pytest.mark.req("AG-256", "AG-T11", "V2-106")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name, target", [("x", "/etc"), ("x", ".."), ("a/x", "../../y"), ("a/b/x", "../../../outside")]
)
def test_links_that_leave(kind: str, name: str, target: str, place: Path) -> None:
    message = refused(
        kind, [Item(name=name, link=target), Item(name=f"{name}/passwd", content=b"evil")], place
    )
    assert repr(name) in message
    assert "symbolic link" in message


@pytest.mark.req("AG-256", "V2-106")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "links",
    [
        {"r": ".", "m": "r/../outside"},
        {"a/b/up": "../..", "m": "a/b/up/../x"},
        {"one": "a/two", "a/two": "..", "m": "one/../../x"},
    ],
)
def test_links_that_leave_only_through_other_links(kind: str, links: dict[str, str], place: Path) -> None:
    """By their own text they stay inside; followed, they do not."""
    message = refused(kind, [Item(name=name, link=target) for name, target in links.items()], place)
    assert "leaves the target directory" in message


@pytest.mark.req("AG-256", "V2-104")
@pytest.mark.parametrize("kind", KINDS)
def test_links_that_stay_inside_are_fine(kind: str, place: Path) -> None:
    links = {
        "a/up": "../b", "self": ".", "loop": "loop", "ping": "pong", "pong": "ping", "dangling": "not/there",
        "a/b/c/far": "../../../b", "round": "a/../b", "odd": "./a//b/./c",
    }  # fmt: skip
    unpack_bytes(MAKERS[kind][0]([Item(name=name, link=target) for name, target in links.items()]), place)
    assert {name: os.readlink(place / name) for name in links} == links


@pytest.mark.req("V2-106")
@pytest.mark.parametrize("kind", KINDS)
def test_the_strict_profile_takes_no_links_at_all(kind: str, place: Path) -> None:
    limits = BundleLimits(reject_links=True)
    assert "symbolic link" in refused(kind, [Item(name="l", link="x")], place, limits)


@pytest.mark.req("AG-256", "V2-104", "V2-114")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "entries",
    [
        [Item(name="x", link="inside"), Item(name="x/y", content=b"1")],
        [Item(name="x", content=b"1"), Item(name="x/y", content=b"1")],
        [Item(name="x/y", content=b"1"), Item(name="x", link="inside")],
        [Item(name="x", link="inside"), Item(name="x", content=b"1")],
        [Item(name="x", content=b"1"), Item(name="./x", content=b"2")],
        [Item(name="x/"), Item(name="x", link="inside")],
        [Item(name="x", link="a"), Item(name="x/")],
    ],
)
def test_entries_that_replace_or_go_through_others(kind: str, entries: list[Item], place: Path) -> None:
    message = refused(kind, [Item(name="inside/"), *entries], place)
    assert "twice" in message or "lies below" in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_may_be_listed_twice(kind: str, place: Path) -> None:
    unpack_bytes(
        MAKERS[kind][0]([Item(name="a/b", content=b"1"), Item(name="a/"), Item(name="a/", mode=0o711)]), place
    )
    assert stat.S_IMODE((place / "a").stat().st_mode) == 0o711


@pytest.mark.req("V2-107", "AG-256")
def test_hard_links_are_refused_or_become_copies(place: Path) -> None:
    entries = [Item(name="a", content=b"1"), Item(name="b/c", hard="a")]
    assert "hard link" in refused("tar", entries, place)
    assert "hard link" in refused("tgz", entries, place)
    lax = BundleLimits(reject_hard_links=False, disk_reserve_bytes=0)
    unpack_bytes(make_tar(entries), place, lax)
    assert (place / "b/c").read_bytes() == b"1"
    assert (place / "b/c").stat().st_nlink == 1


@pytest.mark.req("AG-256", "V2-107", "V2-104")
@pytest.mark.parametrize("target", ["../../outside/precious", "/etc/hostname", "later", "link", "dir"])
def test_a_hard_link_names_an_earlier_file_of_the_archive_or_is_refused(target: str, place: Path) -> None:
    entries = [
        Item(name="link", link="dir"),
        Item(name="dir/"),
        Item(name="x", hard=target),
        Item(name="later"),
    ]
    refused("tar", entries, place, BundleLimits(reject_hard_links=False, disk_reserve_bytes=0))


@pytest.mark.req("AG-257", "V2-113")
@pytest.mark.parametrize("kind", ["tar", "tgz"])
@pytest.mark.parametrize("special", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"V", b"Z"])
def test_devices_fifos_and_unknown_types(kind: str, special: bytes, place: Path) -> None:
    assert "'node'" in refused(kind, [Item(name="node", kind=special)], place)


@pytest.mark.req("V2-108")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6777])
def test_set_id_files_are_refused_or_lose_the_bits(kind: str, mode: int, place: Path) -> None:
    entries = [Item(name="su", content=b"1", mode=mode)]
    message = refused(kind, entries, place)
    assert "'su'" in message
    assert f"{mode:04o}" in message
    unpack_bytes(MAKERS[kind][0](entries), place, BundleLimits(reject_set_id=False, disk_reserve_bytes=0))
    assert stat.S_IMODE((place / "su").stat().st_mode) == mode & 0o755


@pytest.mark.req("V2-108")
def test_a_sticky_bit_is_allowed(place: Path) -> None:
    unpack_bytes(make_tar([Item(name="d/", mode=0o1755), Item(name="f", mode=0o1644)]), place)
    assert stat.S_IMODE((place / "d").stat().st_mode) == 0o1755


@pytest.mark.req("V2-124")
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_else_can_write_to_what_root_runs(kind: str, place: Path) -> None:
    entries = [
        Item(name="d/", mode=0o777),
        Item(name="d/run", content=b"#!/bin/sh", mode=0o776),
        Item(name="f", content=b"1", mode=0o664),
        Item(name="g", content=b"1", mode=0o640),
    ]
    unpacked = unpack_bytes(MAKERS[kind][0](entries), place)
    modes = {name: stat.S_IMODE((place / name).stat().st_mode) for name in ("d", "d/run", "f", "g")}
    assert modes == {"d": 0o755, "d/run": 0o754, "f": 0o644, "g": 0o640}
    assert unpacked.withheld == {"d": 0o022, "d/run": 0o022, "f": 0o020}


@pytest.mark.req("V2-115")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["new\nline", "esc\x1b[0m", "tab\t", "del\x7f", "c1\x85"])
def test_control_characters_in_names(kind: str, name: str, place: Path) -> None:
    message = refused(kind, [Item(name=name, content=b"1")], place)
    assert message.isprintable()


@pytest.mark.req("V2-115")
def test_a_name_cut_by_nul_in_a_zip_is_refused(place: Path) -> None:
    assert "control character" in refused("zip", [Item(name="good\0../evil", content=b"1")], place)


@pytest.mark.req("AG-259", "AG-H32", "V2-115")
def test_names_that_are_not_utf8_are_kept_byte_for_byte(place: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    unpack_bytes(make_tar([Item(name=name, content=b"1")]), place)
    assert os.listdir(os.fsencode(place)) == [b"caf\xe9"]
    data = make_zip([Item(name="cafX", content=b"1")]).replace(b"cafX", b"caf\xe9")
    unpack_bytes(data, place.with_name("other"))
    assert os.listdir(os.fsencode(place.with_name("other"))) == [b"caf\xe9"]


@pytest.mark.req("V2-117")
@pytest.mark.parametrize("kind", KINDS)
def test_percent_encoding_means_nothing(kind: str, place: Path) -> None:
    unpack_bytes(MAKERS[kind][0]([Item(name="%2e%2e%2fevil", content=b"1")]), place)
    assert os.listdir(place) == ["%2e%2e%2fevil"]


@pytest.mark.parametrize("name, refused_for", [("dir\\file.txt", ""), ("..\\evil", "path-traversal")])
def test_separators_of_windows_tools(name: str, refused_for: str, place: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename, info.create_system = name, 0
        archive.writestr(info, b"1")
    if refused_for:
        with pytest.raises(BundleError, match=refused_for):
            unpack_bytes(buffer.getvalue(), place)
    else:
        unpack_bytes(buffer.getvalue(), place)
        assert (place / "dir" / "file.txt").read_bytes() == b"1"


@pytest.mark.req("V2-109", "V2-122", "AG-252")
@pytest.mark.parametrize("kind", ["tar", "tgz"])
def test_owners_in_the_archive_have_no_effect(kind: str, place: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("f")
        info.uid = info.gid = 12345
        tar.addfile(info)
    unpack_bytes(data.getvalue(), place)
    assert ((place / "f").stat().st_uid, (place / "f").stat().st_gid) == (os.geteuid(), os.getegid())


# Limits


@pytest.mark.req("AG-258", "V2-110", "V2-112")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "limits, fact",
    [
        (BundleLimits(max_entries=2), "more than 2 entries"),
        (BundleLimits(max_unpacked_bytes=150), "150"),
        (BundleLimits(max_file_bytes=50), "50"),
        (BundleLimits(max_depth=2), "folders deep"),
        (BundleLimits(max_path_bytes=64), "64 bytes"),
    ],
)
def test_each_limit_is_named(kind: str, limits: BundleLimits, fact: str, place: Path) -> None:
    entries = [
        Item(name="a", content=b"x" * 100),
        Item(name="b", content=b"x" * 100),
        Item(name="c/d/" + "e" * 70),
    ]
    assert fact in refused(kind, entries, place, limits, "BUNDLE_LIMIT")


@pytest.mark.req("V2-112", "AG-258")
@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_bomb_is_stopped_by_its_ratio(kind: str, place: Path) -> None:
    limits = BundleLimits(max_ratio=50, ratio_floor_bytes=1_000_000)
    entries = [Item(name="zeros", content=bytes(20_000_000))]
    assert "50 times" in refused(kind, entries, place, limits, "BUNDLE_LIMIT")
    unpack_bytes(MAKERS[kind][0](entries), place, BundleLimits(max_ratio=50, disk_reserve_bytes=0))


@pytest.mark.req("V2-111")
def test_a_lying_zip_header_does_not_write_more_than_it_says(place: Path) -> None:
    data = make_zip([Item(name="liar", content=b"x" * 100_000)])
    lying = data.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(BundleError) as error:
        unpack_bytes(lying, place, BundleLimits(max_unpacked_bytes=5_000, disk_reserve_bytes=0))
    assert error.value.detail_code in ("BUNDLE_DAMAGED", "BUNDLE_LIMIT")
    assert not place.exists()


@pytest.mark.req("V2-111")
def test_a_sparse_file_counts_as_what_it_becomes(place: Path, tmp_path: Path) -> None:
    header = tarfile.TarInfo("sparse")
    header.size = 0
    header.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse",
        "GNU.sparse.realsize": str(10**9),
    }  # fmt: skip
    content = b"1\n0\n0\n".ljust(512, b"\0")
    header.size = len(content)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(header, io.BytesIO(content))
    with pytest.raises(BundleError) as error:
        unpack_bytes(
            data.getvalue(), place, BundleLimits(max_unpacked_bytes=10_000_000, disk_reserve_bytes=0)
        )
    assert error.value.detail_code in ("BUNDLE_LIMIT", "BUNDLE_DAMAGED")


def test_a_sparse_file_of_gnu_tar_is_unpacked_with_its_holes(place: Path, tmp_path: Path) -> None:
    """The layout that GNU tar calls "posix 1.0": a map of the parts before their data."""
    header = tarfile.TarInfo("GNUSparseFile.0/sparse")
    header.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse",
        "GNU.sparse.realsize": "8192",
    }  # fmt: skip
    content = b"2\n1024\n5\n4096\n3\n".ljust(512, b"\0") + b"hello" + b"end"
    header.size = len(content)
    for compression in ("", "gz"):
        data = io.BytesIO()
        mode: Any = f"w:{compression}"
        with tarfile.open(fileobj=data, mode=mode, format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(header, io.BytesIO(content))
            tar.addfile(tarfile.TarInfo("after"))
        target = place.with_name(f"archive-{compression}")
        unpack_bytes(data.getvalue(), target)
        found = (target / "sparse").read_bytes()
        assert len(found) == 8192
        assert found.rstrip(b"\0") == bytes(1024) + b"hello" + bytes(4096 - 1029) + b"end"
        assert (target / "after").exists()


@pytest.mark.req("AG-308")
@pytest.mark.parametrize(
    "extra, expected",
    [
        (struct.pack("<HHBi", 0x5455, 5, 1, 1_600_000_001), 1_600_000_001),
        # Without it the time is the local one of the machine that packed, and there is no telling which that was.
        (b"", int(time.mktime((2023, 11, 14, 22, 13, 20, 0, 0, -1)))),
    ],
)
def test_times_in_a_zip(extra: bytes, expected: int, place: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("f", (2023, 11, 14, 22, 13, 20))
        info.extra = extra
        archive.writestr(info, b"1")
    unpack_bytes(buffer.getvalue(), place)
    assert (place / "f").stat().st_mtime == expected


@pytest.mark.parametrize("offset", [5, 10**8])
def test_a_zip_whose_directory_points_elsewhere(offset: int, place: Path) -> None:
    data = bytearray(make_zip([Item(name="a", content=b"1" * 100)]))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 42 : directory + 46] = offset.to_bytes(4, "little")
    with pytest.raises(BundleError) as error:
        unpack_bytes(bytes(data), place)
    assert error.value.detail_code == "BUNDLE_DAMAGED"


@pytest.mark.req("AG-258", "V2-112")
def test_links_that_lead_through_each_other_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman_agent.bundles.entries._MOST_STEPS", 5_000)
    entries = [
        Item(name=f"{number:03}", link=f"{number + 1:03}/" * 60 + "../" * 10 + "x") for number in range(300)
    ]
    with pytest.raises(BundleError) as error:
        unpack_bytes(make_tar(entries), place)
    assert error.value.detail_code == "BUNDLE_LIMIT"


@pytest.mark.req("AG-258", "V2-112")
def test_zip_entries_that_share_their_data(place: Path) -> None:
    data = bytearray(
        make_zip([Item(name="a", content=os.urandom(5_000)), Item(name="b", content=os.urandom(5_000))])
    )
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 42 : directory + 46] = (0).to_bytes(4, "little")
    with pytest.raises(BundleError, match="shares its data"):
        unpack_bytes(bytes(data), place)


def test_a_header_that_asks_for_gigabytes_of_memory_is_refused(place: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 8 * 1024**3
    raw = header.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(BundleError) as error:
        unpack_bytes(raw + bytes(1024), place)
    assert error.value.detail_code == "BUNDLE_DAMAGED"


# Damage


@pytest.mark.req("AG-251", "AG-T13", "V2-101", "V2-102")
@pytest.mark.parametrize(
    "data, code, facts",
    [
        (b"", "BUNDLE_EMPTY", ("0 bytes",)),
        (b"<!DOCTYPE html><html>no</html>", "BUNDLE_NOT_AN_ARCHIVE", ("HTML", "30 bytes")),
        (b"<Error><Code>AccessDenied</Code></Error>", "BUNDLE_NOT_AN_ARCHIVE", ("XML",)),
        (b'{"error": 1}', "BUNDLE_NOT_AN_ARCHIVE", ("JSON",)),
        (b"hello", "BUNDLE_NOT_AN_ARCHIVE", ("text", "5 bytes")),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "BUNDLE_NOT_AN_ARCHIVE", ("Zstandard",)),
        (bytes(range(256)) * 4, "BUNDLE_NOT_AN_ARCHIVE", ("1024 bytes",)),
        (b"PK\x03\x04" + bytes(100), "BUNDLE_DAMAGED", ()),
        (b"\x1f\x8b" + bytes(100), "BUNDLE_DAMAGED", ()),
        (b"BZh9" + bytes(50), "BUNDLE_DAMAGED", ()),
    ],
)
def test_what_is_no_archive(data: bytes, code: str, facts: tuple[str, ...], place: Path) -> None:
    with pytest.raises(BundleError) as error:
        unpack_bytes(data, place)
    assert error.value.detail_code == code
    assert all(fact in error.value.message for fact in facts)
    assert not place.exists()


@pytest.mark.req("V2-102", "AG-214")
@pytest.mark.parametrize("kind", [*KINDS, "bz2", "xz"])
def test_a_bundle_cut_short_anywhere_is_refused(kind: str, place: Path) -> None:
    entries = [Item(name=f"f{number}", content=os.urandom(700)) for number in range(12)]
    data = make_tar(entries, kind) if kind in ("bz2", "xz") else MAKERS[kind][0](entries)
    if kind == "tar":
        # Behind the end mark there is only padding.
        data = data[: 12 * (512 + 1024) + 512]
    for length in range(600, len(data), 97):
        with pytest.raises(BundleError) as error:
            unpack_bytes(data[:length], place)
        assert error.value.detail_code in ("BUNDLE_DAMAGED", "BUNDLE_NOT_AN_ARCHIVE"), length
        assert not place.exists()


@pytest.mark.req("V2-102")
@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_flipped_byte_in_the_data_is_noticed(kind: str, place: Path) -> None:
    data = bytearray(MAKERS[kind][0]([Item(name="f", content=os.urandom(5_000))]))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(BundleError) as error:
        unpack_bytes(bytes(data), place)
    assert error.value.detail_code == "BUNDLE_DAMAGED"
    assert not place.exists()


def test_an_encrypted_zip_is_named(place: Path) -> None:
    data = bytearray(make_zip(items({"secret": b"1"})))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        data[at] |= 1
    with pytest.raises(BundleError, match="encrypted"):
        unpack_bytes(bytes(data), place)


@pytest.mark.req("AG-250", "V2-100", "AG-235")
def test_the_declared_type_against_the_real_one() -> None:
    assert check_declared(Format.GZIP, BundleType.TAR) is None
    assert check_declared(Format.GZIP, BundleType.TGZ) is None
    assert check_declared(Format.ZIP, BundleType.ZIP) is None
    assert "tgz" in (check_declared(Format.TAR, BundleType.TGZ) or "")
    for found, declared in (
        (Format.ZIP, BundleType.TGZ),
        (Format.TAR, BundleType.ZIP),
        (Format.GZIP, BundleType.ZIP),
    ):
        with pytest.raises(BundleError) as error:
            check_declared(found, declared)
        assert error.value.detail_code == "BUNDLE_TYPE"


# Ends


@pytest.mark.req("AG-214", "AG-249")
def test_a_stop_leaves_nothing(place: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        unpack_bytes(make_tar(GOOD), place, stop=stop)
    assert not place.exists()


@pytest.mark.req("AG-260", "AG-261", "AG-H11", "AG-H28")
def test_blanks_in_the_path_and_the_working_directory_do_not_matter(tmp_path: Path) -> None:
    before = os.getcwd()
    folder = tmp_path / "with blanks; $(and) more"
    folder.mkdir()
    unpack_bytes(make_tar(GOOD), folder / "archive")
    assert (folder / "archive/dotted").exists()
    assert os.getcwd() == before


@pytest.mark.req("AG-214", "V2-116")
@pytest.mark.parametrize("call", ["write", "fchmod", "utime", "symlink"])
def test_an_error_of_the_disk_leaves_nothing(call: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **given: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = place.parent / "bundle"
    path.write_bytes(make_tar(GOOD))
    monkeypatch.setattr(os, call, fail)
    with path.open("rb") as file, pytest.raises(OSError, match="Input/output"):
        unpack(TarSource(file, Format.TAR), place, LIMITS, packed_bytes=1)
    assert not place.exists()


@pytest.mark.req("AG-242", "AG-244", "V2-069")
def test_a_directory_is_unpacked_like_an_archive(place: Path, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    (origin / "sub").mkdir(parents=True)
    (origin / "sub" / ".hidden").write_bytes(b"1")
    (origin / "link").symlink_to("sub")
    (origin / "sub" / ".hidden").chmod(0o640)
    unpack(DirectorySource(origin), place, LIMITS, packed_bytes=0)
    assert tree(place) == tree(origin)
    (origin / "out").symlink_to("/etc")
    with pytest.raises(BundleError, match="leaves the target"):
        unpack(DirectorySource(origin), place.with_name("second"), LIMITS, packed_bytes=0)
    (origin / "out").unlink()
    os.mkfifo(origin / "pipe")
    with pytest.raises(BundleError, match="FIFO"):
        unpack(DirectorySource(origin), place.with_name("third"), LIMITS, packed_bytes=0)


def test_compressed_data_without_a_tar_inside(place: Path) -> None:
    for data in (bz2.compress(b"hello" * 100), lzma.compress(b"hello" * 500)):
        with pytest.raises(BundleError) as error:
            unpack_bytes(data, place)
        assert error.value.detail_code == "BUNDLE_DAMAGED"
