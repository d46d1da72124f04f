"""DownloadBundle and Install of 10,000 files from a local bundle, beside `tar x` and `cp -a` of the same files.

The second revision has one file in a hundred changed. Everything is on the file system of the temporary directory, and
nothing is deleted in between: ext4 takes ten times as long to create files where many were deleted just before.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from ferryman_agent.bundles.download import download_bundle
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.core.messages import BundleType, Instant
from ferryman_agent.files.install import install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from tests.bench.harness import Figure, Options, row
from tests.support.bundles import description

SIZE = 4096
FILES_IN_FOLDER = 100
MODIFIED = 1_700_000_000
ROUNDS = 3


def _revision(folder: Path, count: int) -> None:
    """A tree of `count` files that compress like text, half of their bytes random."""
    for number in range(count):
        path = folder / "app" / f"d{number // FILES_IN_FOLDER}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SIZE // 2) + bytes([number % 250]) * (SIZE // 2))
        os.utime(path, (MODIFIED, MODIFIED))
    (folder / "appspec.yml").write_text(
        "version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: /srv\n"
    )


def _change(folder: Path, changed: frozenset[int]) -> None:
    for number in changed:
        path = folder / "app" / f"d{number // FILES_IN_FOLDER}" / f"f{number}"
        path.write_bytes(os.urandom(SIZE))
        os.utime(path, (MODIFIED + 60, MODIFIED + 60))


def _pack(folder: Path, bundle: Path, kind: BundleType) -> None:
    if kind is BundleType.TGZ:
        subprocess.run(["tar", "czf", bundle, "-C", folder, "."], check=True)
        return
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))


def _timed(command: Callable[[], object]) -> float:
    os.sync()
    started = time.perf_counter()
    command()
    return time.perf_counter() - started


def _by_hand(bundle: Path, scratch: Path) -> tuple[float, float]:
    """Seconds of `tar x` and of `cp -a` of what it made."""
    unpacked, copied = scratch / "unpacked", scratch / "copied"
    unpacked.mkdir()
    tar = _timed(lambda: subprocess.run(["tar", "xzf", bundle, "-C", unpacked], check=True))
    return tar, _timed(lambda: subprocess.run(["cp", "-a", unpacked / "app", copied], check=True))


class _Round:
    """One machine: seconds of each event of both revisions."""

    def __init__(self, scratch: Path) -> None:
        self.layout = Layout(scratch / "root")
        self.layout.prepare()
        self._settings = InstallSettings(install_root=str(scratch))

    async def deploy(self, ident: str, bundle: Path, kind: BundleType) -> tuple[float, float]:
        wanted = description(ident, url=bundle.as_uri(), bundle_type=kind)
        os.sync()
        started = time.perf_counter()
        await download_bundle(
            wanted,
            layout=self.layout,
            limits=BundleLimits(),
            max_revisions=5,
            on_progress=lambda done, total: None,
        )
        between = time.perf_counter()
        await install(wanted, layout=self.layout, now=Instant(1), settings=self._settings)
        return between - started, time.perf_counter() - between


async def _measure(kind: BundleType, options: Options) -> dict[str, float]:
    """The medians of the rounds, in seconds, by what was done."""
    count = 300 if options.quick else 10_000
    changed = frozenset(range(0, count, 100))
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-install-") as name:
        base = Path(name)
        _revision(base / "revision", count)
        first, second, tgz = base / "first", base / "second", base / "reference.tgz"
        _pack(base / "revision", first, kind)
        _pack(base / "revision", tgz, BundleType.TGZ)
        _change(base / "revision", changed)
        _pack(base / "revision", second, kind)
        for number in range(1 if options.quick else ROUNDS):
            scratch = base / str(number)
            scratch.mkdir()
            machine = _Round(scratch)
            tar, copy = _by_hand(tgz, scratch)
            download_first, install_first = await machine.deploy("d-1", first, kind)
            download_second, install_second = await machine.deploy("d-2", second, kind)
            seconds = {
                "tar": tar,
                "cp": copy,
                "download_first": download_first,
                "install_first": install_first,
                "download_second": download_second,
                "install_second": install_second,
            }
            for what, value in seconds.items():
                found.setdefault(what, []).append(value)
    return {what: sorted(values)[len(values) // 2] for what, values in found.items()}


def _first(found: dict[str, float]) -> Figure:
    details: dict[str, float | int | str] = {f"{what}_s": value for what, value in found.items()}
    value = found["download_first"] + found["install_first"]
    reference = found["tar"] + found["cp"]
    return Figure(value=value, reference=reference, reference_name="tar x + cp -a", details=details)


def _second(found: dict[str, float]) -> Figure:
    details: dict[str, float | int | str] = {f"{what}_s": value for what, value in found.items()}
    value = found["install_second"]
    reference = found["download_first"] + found["install_first"]
    return Figure(value=value, reference=reference, reference_name="the first", details=details)


@row("install.zip", what="DownloadBundle and Install, 10,000 × 4 KiB, zip", unit="s", ratio_budget=2)
async def first_zip(options: Options) -> Figure:
    """The first revision of an application, from a zip."""
    return _first(await _measure(BundleType.ZIP, options))


@row("install.tgz", what="DownloadBundle and Install, 10,000 × 4 KiB, tgz", unit="s", ratio_budget=2)
async def first_tgz(options: Options) -> Figure:
    """The first revision of an application, from a compressed tar."""
    return _first(await _measure(BundleType.TGZ, options))


@row(
    "install.second",
    what="Install of the second revision, 1 % of the files changed",
    unit="s",
    budget=0.3,
    ratio_budget=1 / 3,
)
async def second(options: Options) -> Figure:
    """What files cost that are right already."""
    return _second(await _measure(BundleType.ZIP, options))
