"""What the scripts of an event took together, from what each of them took. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ferryman_agent.core.messages import ResourceUsage


def total(scripts: Sequence[ResourceUsage]) -> ResourceUsage | None:
    """Sums of time, bytes and kills, the largest peak; None where nothing was measured.

    A figure that one script lacks is that of the others: its peak was too small to be told from the agent's own.
    """
    found = ResourceUsage(
        peak_memory_bytes=_over(max, (each.peak_memory_bytes for each in scripts)),
        cpu_ms=_over(sum, (each.cpu_ms for each in scripts)),
        read_bytes=_over(sum, (each.read_bytes for each in scripts)),
        written_bytes=_over(sum, (each.written_bytes for each in scripts)),
        out_of_memory_kills=_over(sum, (each.out_of_memory_kills for each in scripts)),
    )
    return None if found == ResourceUsage() else found


def _over(fold: Callable[[Iterable[int]], int], values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return fold(known) if known else None
