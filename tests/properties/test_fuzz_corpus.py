"""Every file of every corpus, as `make fuzz` would try it: what once broke a reader stays mended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mixing import mutants
from tests.fuzz.targets import TARGETS, Target

FILES = [
    pytest.param(target, path, id=f"{target.name}-{path.name}")
    for target in TARGETS.values()
    for path in target.inputs()
]
NEXT_TO_NOTHING_SECONDS = 5.0
# The others have properties of their own, over the same corpora.
MIXED = [TARGETS[name] for name in ("config", "output", "permissions")]


@pytest.mark.req("V2-391")
@pytest.mark.parametrize("target, path", FILES)
def test_no_file_of_a_corpus_breaks_its_reader(target: Target, path: Path) -> None:
    began = time.monotonic()
    target.examine(path.read_bytes())
    assert time.monotonic() - began < NEXT_TO_NOTHING_SECONDS


@pytest.mark.req("V2-391")
@pytest.mark.parametrize("target", MIXED, ids=lambda target: target.name)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_no_mixture_of_a_corpus_breaks_its_reader(target: Target, data: st.DataObject) -> None:
    target.examine(data.draw(mutants([path.read_bytes() for path in target.inputs()])))
