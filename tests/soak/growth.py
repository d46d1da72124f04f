"""Whether a figure grew in a long run. Pure.

The first quarter is for warming up: caches fill, and revisions pile up until retention takes the first away. The median
of the last quarter is compared with that of the second: a leak of so much a deployment shows as half a run's worth of
it, while single high samples, which a busy machine gives, show in neither.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

SAMPLES_TO_JUDGE = 40
"""In fewer there is no warm second quarter: only limits are judged then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A series with what it is judged by: growth that is allowed in its own unit, and a limit for its last median."""

    name: str
    samples: Sequence[float]
    may_grow: float = 0.0
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The medians of the quarters, and what is wrong with them: "" when nothing is."""

    name: str
    first: float
    second: float
    last: float
    most: float
    problem: str


def judge(figure: Figure) -> Judgement:
    """Raises ValueError for a series without four samples."""
    if len(figure.samples) < 4:
        raise ValueError(f"{figure.name}: {len(figure.samples)} samples make no four quarters")
    quarter = len(figure.samples) // 4
    first = statistics.median(figure.samples[:quarter])
    second = statistics.median(figure.samples[quarter : 2 * quarter])
    last = statistics.median(figure.samples[-quarter:])
    problem = ""
    if len(figure.samples) >= SAMPLES_TO_JUDGE and last - second > figure.may_grow:
        problem = f"grew by {last - second:.3g}, allowed are {figure.may_grow:.3g}"
    elif figure.limit is not None and last > figure.limit:
        problem = f"is over {figure.limit:.3g}"
    return Judgement(
        name=figure.name, first=first, second=second, last=last, most=max(figure.samples), problem=problem
    )
