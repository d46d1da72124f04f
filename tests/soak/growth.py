"""Whether a figure grew in a long run. Pure.

What is counted (descriptors, threads, files) is judged by medians: the first quarter is for warming up, and the last
one is compared with the second. Single high samples, which a busy machine gives, show in neither.

Memory is judged by how steeply it rises in the second half, when the caches are full: the median of the slopes between
every two of its samples (Theil and Sen). Two medians would not do. They lie half a run apart, so that the limit
between a leak and what an allocator takes once in a while would depend on the length of the run; and a step of one MiB,
which is no leak, moves them as much as a leak of 7 KiB a deployment. It moves the median of all slopes less, and what
single samples waver hardly at all, while whatever stays behind each time is in every one of them.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

SAMPLES_TO_JUDGE = 40
"""In fewer there is no warm second quarter: only limits are judged then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A series with what it is judged by: growth that is allowed in its own unit, and a limit for its last median.

    may_rise: where it is given, the slope from one sample to the next is judged by it, and not the growth.
    """

    name: str
    samples: Sequence[float]
    may_grow: float = 0.0
    may_rise: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The medians of the quarters, the slope of the second half, and what is wrong with them: "" when nothing is."""

    name: str
    first: float
    second: float
    last: float
    most: float
    rise: float
    problem: str


def judge(figure: Figure) -> Judgement:
    """Raises ValueError for a series without four samples."""
    if len(figure.samples) < 4:
        raise ValueError(f"{figure.name}: {len(figure.samples)} samples make no four quarters")
    quarter = len(figure.samples) // 4
    first = statistics.median(figure.samples[:quarter])
    second = statistics.median(figure.samples[quarter : 2 * quarter])
    last = statistics.median(figure.samples[-quarter:])
    rise = slope(figure.samples[len(figure.samples) // 2 :])
    problems = []
    if len(figure.samples) >= SAMPLES_TO_JUDGE:
        if figure.may_rise is None and last - second > figure.may_grow:
            problems.append(f"grew by {last - second:.3g}, allowed are {figure.may_grow:.3g}")
        if figure.may_rise is not None and rise > figure.may_rise:
            problems.append(f"rises by {rise:.2g} each time, allowed are {figure.may_rise:.2g}")
    if figure.limit is not None and last > figure.limit:
        problems.append(f"is over {figure.limit:.3g}")
    return Judgement(
        name=figure.name,
        first=first,
        second=second,
        last=last,
        most=max(figure.samples),
        rise=rise,
        problem="; ".join(problems),
    )


def slope(samples: Sequence[float]) -> float:
    """How much each of at least two samples is above the one before it, by the median of all pairs."""
    pairs = itertools.combinations(enumerate(samples), 2)
    return statistics.median((later - earlier) / (at - since) for (since, earlier), (at, later) in pairs)
