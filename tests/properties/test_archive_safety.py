"""Hostile archives, generated: whatever is in them, nothing appears outside, and a failure leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.archives import try_to_unpack
from tests.support.bundles import MAKERS, Item, make_tar

parts = st.sampled_from(["a", "b", "c", "..", ".", "", "outside", "precious", "é", "\\", "C:"])
names = st.lists(parts, min_size=1, max_size=4).map("/".join)
entries = st.one_of(
    st.builds(Item, name=names, content=st.binary(max_size=50)),
    st.builds(Item, name=names, link=names | st.sampled_from(["/etc", "/", "..", "../outside/precious"])),
    st.builds(Item, name=names.map(lambda name: f"{name}/")),
)
tar_entries = entries | st.builds(
    Item, name=names, hard=names | st.sampled_from(["/etc/passwd", "../outside/precious"])
)


@pytest.mark.req("AG-256", "V2-102", "V2-103", "V2-104", "V2-105", "V2-106", "V2-107", "V2-114")
@settings(max_examples=150, deadline=None)
@given(st.lists(tar_entries, max_size=6), st.sampled_from(["", "gz"]))
def test_tar(archive: list[Item], compression: str) -> None:
    try_to_unpack(make_tar(archive, compression))


@pytest.mark.req("AG-256", "V2-102", "V2-103", "V2-104", "V2-105", "V2-106", "V2-114")
@settings(max_examples=100, deadline=None)
@given(st.lists(entries, max_size=6))
def test_zip(archive: list[Item]) -> None:
    try_to_unpack(MAKERS["zip"][0](archive))


@pytest.mark.req("V2-102", "AG-251", "V2-391")
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.builds(Item, name=names, content=st.binary(max_size=600)), min_size=1, max_size=4),
    st.sampled_from(["zip", "tar", "tgz"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 3_000),
)
def test_damage_anywhere(archive: list[Item], kind: str, flips: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(MAKERS[kind][0](archive))
    for position, value in flips:
        data[position % len(data)] = value
    try_to_unpack(bytes(data[: max(1, len(data) - cut)]))


@pytest.mark.req("V2-102", "V2-391")
@settings(deadline=None)
@given(
    st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00"]),
    st.binary(max_size=2_000),
)
def test_any_bytes(start: bytes, rest: bytes) -> None:
    try_to_unpack(start + rest)


def mended(header: bytearray) -> bytes:
    """A tar header with the right check sum, so that the rest of it is believed."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.req("V2-102", "V2-391", "V2-104")
@settings(max_examples=200, deadline=None)
@given(
    st.lists(tar_entries, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 511), st.binary(min_size=1, max_size=12)), min_size=1, max_size=5),
    st.integers(0, 20),
)
def test_tar_headers_that_lie(archive: list[Item], changes: list[tuple[int, bytes]], block: int) -> None:
    data = bytearray(make_tar(archive))
    start = block * 512 % len(data)
    header = data[start : start + 512]
    for position, value in changes:
        header[position : position + len(value)] = value
    data[start : start + 512] = mended(header[:512].ljust(512, b"\0"))
    try_to_unpack(bytes(data))


# A corpus: archives of every kind that a reader has to know, and each way to hurt it that somebody has thought of

CORPUS = sorted((Path(__file__).parents[1] / "corpus" / "archives").glob("*-*.*"))


@pytest.mark.req(
    "AG-256",
    "AG-257",
    "AG-248",
    "AG-H20",
    "V2-100",
    "V2-102",
    "V2-103",
    "V2-106",
    "V2-107",
    "V2-113",
    "V2-114",
    "V2-115",
)
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus(path: Path) -> None:
    assert try_to_unpack(path.read_bytes()) is path.name.startswith("good-")


@pytest.mark.timeout(60)
@pytest.mark.req("V2-102", "V2-391", "V2-104", "AG-251")
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(CORPUS),
    st.lists(st.tuples(st.integers(0, 20_000), st.binary(max_size=8)), min_size=1, max_size=4),
    st.integers(0, 400),
)
def test_the_corpus_damaged(path: Path, changes: list[tuple[int, bytes]], cut: int) -> None:
    data = bytearray(path.read_bytes() or b"PK")
    for position, value in changes:
        start = position % len(data)
        data[start : start + len(value)] = value
    try_to_unpack(bytes(data[: max(1, len(data) - cut)]))


@pytest.mark.timeout(60)
@pytest.mark.req("V2-102", "V2-391")
@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CORPUS), st.sampled_from(CORPUS), st.integers(0, 3_000), st.integers(0, 3_000))
def test_the_corpus_spliced(one: Path, other: Path, end: int, begin: int) -> None:
    try_to_unpack(one.read_bytes()[:end] + other.read_bytes()[begin:])
