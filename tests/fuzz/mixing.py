"""Inputs for a fuzz target without atheris: files of its corpus, mixed and damaged by Hypothesis.

python -m tests.fuzz.mixing TARGET SECONDS FOLDER
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

_EXAMPLES = 500


@st.composite
def mutants(draw: st.DrawFn, contents: Sequence[bytes]) -> bytes:
    """One of them with a piece of another in it, some bytes exchanged, and perhaps cut short."""
    mutant = bytearray(draw(st.sampled_from(contents)))
    other = draw(st.sampled_from(contents))
    begin = draw(st.integers(0, len(other)))
    piece = other[begin : begin + draw(st.integers(0, 200))]
    at = draw(st.integers(0, len(mutant)))
    mutant[at : at + draw(st.integers(0, 200))] = piece + draw(st.binary(max_size=20))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4)):
        if mutant:
            mutant[place % len(mutant)] = byte
    return bytes(mutant[: draw(st.integers(0, len(mutant)))] if draw(st.booleans()) else mutant)


def mix(target: Target, seconds: float, found: Path) -> None:
    """Tries inputs for so long. One that breaks the target is written to `found`, as small as it gets, and raised."""
    contents = [path.read_bytes()[: target.longest] for path in target.inputs()]
    ends = time.monotonic() + seconds
    tried = round_number = 0
    while time.monotonic() < ends:
        last = b""

        @seed(round_number)
        @settings(
            max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(mutants(contents))
        def attempt(source: bytes) -> None:
            nonlocal last, tried
            last = source
            tried += 1
            target.examine(source)

        try:
            attempt()
        except BaseException:
            # Hypothesis ends with the smallest input that it has found.
            (found / f"{target.name}-mixed").write_bytes(last)
            raise
        round_number += 1
    print(f"{tried} inputs")


if __name__ == "__main__":
    mix(TARGETS[sys.argv[1]], float(sys.argv[2]), Path(sys.argv[3]))
