"""What a process of this machine takes, as Linux counts it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_KIB_IN_MIB = 1024.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFigures:
    """Memory in MiB. `private_mib` is what the process alone has written to: what one more of it costs."""

    rss_mib: float
    private_mib: float
    descriptors: int
    threads: int
    children: int


def figures_of(pid: int) -> ProcessFigures:
    """Reads /proc. Raises OSError when the process is gone, or somebody else's."""
    memory: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        memory[name.rstrip(":")] = int(value) / _KIB_IN_MIB
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return ProcessFigures(
        rss_mib=memory["Rss"],
        private_mib=memory["Private_Dirty"],
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=len(threads),
        children=sum(len((thread / "children").read_text().split()) for thread in threads),
    )


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken so far, its ended children included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
