"""Compressed archives: read once, in pieces of any size, and never past what is broken."""

from __future__ import annotations

import gzip
import io
import threading
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.bundles.forward import BLOCK, Forward, gunzipped

PATTERN = bytes(range(251)) * 8_000


@given(st.lists(st.binary(max_size=700), max_size=8), st.lists(st.integers(0, 900), max_size=20))
def test_it_reads_as_a_file_does(blocks: list[bytes], steps: list[int]) -> None:
    """Every third step skips, every fourth goes back, as far as a file that only goes forward can."""
    plain = io.BytesIO(b"".join(blocks))
    stream = Forward(iter(blocks))
    try:
        for number, step in enumerate(steps):
            if number % 3 == 2:
                end = min(plain.tell() + step, len(plain.getvalue()))
                assert stream.seek(plain.tell() + step) == plain.seek(end)
            elif number % 4 == 3:
                back = max(0, plain.tell() - step % 512)
                assert stream.seek(back) == plain.seek(back)
            assert stream.read(step) == plain.read(step)
            assert stream.tell() == plain.tell()
    finally:
        stream.close()


def test_what_breaks_breaks_again_and_again() -> None:
    def breaking() -> Iterator[bytes]:
        yield b"good"
        raise zlib.error("bad")

    stream = Forward(breaking())
    assert stream.read(4) == b"good"
    for _ in range(3):
        with pytest.raises(zlib.error):
            stream.read(1)
    stream.close()


def test_going_back_too_far_is_refused() -> None:
    stream = Forward(iter([b"x" * 1000, b"y" * 1000]))
    stream.read(2000)
    assert stream.seek(1500) == 1500
    with pytest.raises(ValueError, match="go back"):
        stream.seek(100)
    stream.close()


def test_closing_ends_the_thread_whatever_it_does() -> None:
    """With its queue full, and with nobody who ever read anything."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * BLOCK

    before = threading.active_count()
    streams = [Forward(endless()) for _ in range(3)]
    streams[0].read(3 * BLOCK)
    for stream in streams:
        stream.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("padding", [0, 7, BLOCK + 1])
def test_gzip_files_of_any_make(members: int, padding: int) -> None:
    packed = b"".join(gzip.compress(PATTERN) + b"\0" * padding for _ in range(members))
    assert b"".join(gunzipped(io.BytesIO(packed))) == PATTERN * members


def test_gzip_of_much_from_little() -> None:
    """More may be waiting in the decompressor when all input was read."""
    size = 5 * BLOCK + 3
    assert sum(map(len, gunzipped(io.BytesIO(gzip.compress(b"\0" * size))))) == size


@pytest.mark.req("V2-102")
@pytest.mark.parametrize("cut", [1, 8, 9, 300])
def test_a_gzip_file_that_is_cut_short_ends_with_an_error(cut: int) -> None:
    with pytest.raises(EOFError):
        list(gunzipped(io.BytesIO(gzip.compress(PATTERN)[:-cut])))


def test_what_follows_a_gzip_file_must_be_another_one() -> None:
    with pytest.raises(zlib.error):
        list(gunzipped(io.BytesIO(gzip.compress(b"1") + b"\0\0rest")))
