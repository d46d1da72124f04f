"""Our reading of tar headers, against the library's."""

from __future__ import annotations

import tarfile
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.bundles.tar_header import Header

KINDS = [
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
]
PARTS = [(0, 100), (100, 108), (124, 136), (136, 148), (156, 157), (157, 257), (345, 500)]
places = st.sampled_from(PARTS).flatmap(lambda part: st.integers(part[0], part[1] - 1))


def read(kind: type[tarfile.TarInfo], block: bytes) -> tuple[object, ...]:
    try:
        found = kind.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as problem:
        return (type(problem),)
    return found.name, found.mode, found.size, found.mtime, found.type, found.linkname


@given(
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from(KINDS),
    st.sampled_from(["a", "a/b/", "é", "x/" * 60 + "y"]),
    st.sampled_from([0, 1, 0o777, 8**11 - 1]),
    st.lists(st.tuples(places, st.sampled_from(b"\0 0178_+-./\x80\xff")), max_size=4),
    st.booleans(),
)
def test_it_is_read_as_the_library_reads_it(
    form: Literal[0, 1], kind: bytes, name: str, size: int, changes: list[tuple[int, int]], is_right: bool
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mtime = kind, size, "to/where", 1_700_000_000
    block = bytearray(info.tobuf(form, "utf-8", "surrogateescape")[-512:])
    for place, value in changes:
        block[place] = value
    if is_right:
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    assert read(Header, bytes(block)) == read(tarfile.TarInfo, bytes(block))
