"""Checks of what is installed, and of the archive it came from: by `stat` and by contents.

Beside `find` and `sha256sum` over the same two trees.
"""

from __future__ import annotations

import contextlib
import resource
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ferryman_agent.core.messages import GroupId, Instant
from ferryman_agent.files.check import Knowledge, check_group
from ferryman_agent.files.digests import Digests, mark_of
from ferryman_agent.files.install import _Install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from ferryman_agent.files.survey import sha256_at
from ferryman_agent.files.tree import Folders, walk
from tests.bench.harness import Figure, Options, row
from tests.support.bundles import GROUP, description, put_archive

SIZE = 4096
FOLDERS = 100


@contextlib.contextmanager
def _installed(files: int) -> Iterator[tuple[Layout, list[Path]]]:
    with tempfile.TemporaryDirectory() as home:
        app, layout = Path(home, "srv/app"), Layout(Path(home, "agent/root"))
        layout.prepare()
        appspec = f"version: 0.0\nos: linux\nfiles:\n  - source: /\n    destination: {app}\n"
        content: dict[str, bytes | str] = {
            f"{number % FOLDERS:02}/{number}": number.to_bytes(4, "big") * (SIZE // 4)
            for number in range(files)
        }
        archive = put_archive(layout, "d-1", {**content, "appspec.yml": appspec.encode()})
        _note(archive, layout.deployment(GROUP, "d-1").archive_digests)
        _Install(description("d-1"), layout, Instant(1), InstallSettings()).run()
        # The clock could not tell when it wrote the last files from when they were looked at.
        time.sleep(0.05)
        yield layout, [app, archive]


def _note(archive: Path, path: Path) -> None:
    """Writes the record of an archive, as unpacking does."""
    digests = Digests()
    with Folders.below(archive) as folders:
        for name, status in walk(folders):
            if stat.S_ISREG(status.st_mode):
                digests.remember(name, mark_of(status), sha256_at(folders, name))
    digests.save(path)


def _check(layout: Layout, knowledge: Knowledge, *, with_digests: bool) -> tuple[Knowledge, float, float]:
    """What it learned, seconds, and seconds of the processor."""
    began, cpu = time.perf_counter(), time.process_time()
    checked = check_group(
        layout,
        GroupId(GROUP),
        knowledge=knowledge,
        with_digests=with_digests,
        now=Instant(1),
        pace=lambda count: None,
        stop=threading.Event(),
    )
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert checked is not None
    state = checked.state
    assert (state.files_drifted, state.error, state.archive_whole) == (0, "", True)
    return checked.knowledge, elapsed, cpu


def _reference(command: str, folders: list[Path]) -> Callable[[], float]:
    def measure() -> float:
        began = time.perf_counter()
        subprocess.run(["sh", "-c", command, "sh", *map(str, folders)], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    return measure


def _measure(options: Options, command: str, name: str, *, with_digests: bool) -> Figure:
    files, rounds = (500, 2) if options.quick else (10_000, 7)
    with _installed(files) as (layout, folders):
        knowledge, _, _ = _check(layout, Knowledge(), with_digests=with_digests)
        reference = _reference(command, folders)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        taken, cpus, others = [], [], []
        for _ in range(rounds):
            knowledge, elapsed, cpu = _check(layout, knowledge, with_digests=with_digests)
            taken.append(elapsed)
            cpus.append(cpu)
            others.append(reference())
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    middle = rounds // 2
    return Figure(
        value=sorted(taken)[middle] * 1000,
        reference=sorted(others)[middle] * 1000,
        reference_name=name,
        details={
            "files": files,
            "cpu_ms": round(sorted(cpus)[middle] * 1000, 1),
            "rss_growth_kib_over_rounds": grown,
            "known_files_kept_in_memory": len(knowledge.installed) + len(knowledge.archive),
        },
    )


@row(
    "drift.stat",
    what="check of 10,000 files and their archive by stat",
    unit="ms",
    ratio_budget=2.0,
)
def drift_stat(options: Options) -> Figure:
    return _measure(
        options, 'find "$@" -printf "%p %m %u %g %s %T@ %C@ %i\\n"', "ms find -printf", with_digests=False
    )


@row(
    "drift.digests",
    what="check of 10,000 files of 4 KiB and their archive by content",
    unit="ms",
    ratio_budget=2.0,
)
def drift_digests(options: Options) -> Figure:
    return _measure(
        options, 'find "$@" -type f -print0 | xargs -0 sha256sum', "ms sha256sum", with_digests=True
    )
