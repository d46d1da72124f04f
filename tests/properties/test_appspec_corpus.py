"""The collected AppSpec files, as they are and with parts exchanged: every one has an answer, and keeps it.

The names in tests/corpus/appspec say what is in a file: `good-` and `odd-` ones are accepted on a host, `bad-` and
`wrong-` ones are not. A file that once broke the parser belongs there. `make fuzz` starts from them as well.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.appspec import parse
from tests.fuzz.appspec import examine

CORPUS = Path(__file__).parents[1] / "corpus" / "appspec"
FILES = {file.stem: file.read_bytes() for file in sorted(CORPUS.glob("*.yml"))}
NEXT_TO_NOTHING_SECONDS = 5.0

contents = st.sampled_from(sorted(FILES.values()))


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """One file with a piece of another in it, some bytes exchanged, and perhaps cut short."""
    mutant = bytearray(draw(contents))
    other = draw(contents)
    begin = draw(st.integers(0, len(other)))
    piece = other[begin : begin + draw(st.integers(0, 40))]
    at = draw(st.integers(0, len(mutant)))
    mutant[at : at + draw(st.integers(0, 20))] = piece
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4)):
        if mutant:
            mutant[place % len(mutant)] = byte
    return bytes(mutant[: draw(st.integers(0, len(mutant)))] if draw(st.booleans()) else mutant)


@pytest.mark.req("V2-172", "V2-391")
@pytest.mark.parametrize("name", FILES)
def test_every_file_has_the_answer_that_its_name_says(name: str) -> None:
    began = time.monotonic()
    examine(FILES[name])
    assert time.monotonic() - began < NEXT_TO_NOTHING_SECONDS
    is_accepted = parse(FILES[name], strict=False).appspec is not None
    without_sight_of_the_revision = name in {
        "wrong-pattern-with-a-file-object",
        "wrong-except-with-a-file-object",
    }
    if name != "odd-other-platform":  # without 'os' it is none of ours
        assert is_accepted == (name.startswith(("good-", "odd-")) or without_sight_of_the_revision)
    if name.startswith("good-"):
        assert not parse(FILES[name]).errors


@pytest.mark.req("V2-172", "AG-275", "V2-391")
@settings(deadline=None, max_examples=200)
@given(mutants())
def test_any_mixture_of_them_has_an_answer(source: bytes) -> None:
    examine(source)
