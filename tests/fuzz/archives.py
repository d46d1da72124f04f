"""The reader of archives: whatever is in one, nothing appears outside, and a failure leaves nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ferryman_agent.bundles.formats import Format, detect
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.sources import Source
from ferryman_agent.bundles.tar_source import TarSource
from ferryman_agent.bundles.unpack import unpack
from ferryman_agent.bundles.zip_source import ZipSource
from ferryman_agent.errors import BundleError
from tests.support.bundles import tree

LIMITS = BundleLimits(
    max_entries=50, max_unpacked_bytes=100_000, max_depth=8, max_path_bytes=200, reject_hard_links=False,
    disk_reserve_bytes=0,
)  # fmt: skip
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@contextmanager
def world() -> Iterator[tuple[Path, Path]]:
    """A folder with something precious in it, and the place to unpack to."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        root = Path(folder)
        (root / "outside").mkdir()
        (root / "outside" / "precious").write_bytes(b"precious")
        (root / "work").mkdir()
        yield root, root / "work" / "archive"


def try_to_unpack(data: bytes) -> bool:
    """Unpacks if that is allowed; returns whether it was. Sees that nothing else in the world has changed."""
    message = ""
    with world() as (root, place):
        bundle = root / "bundle"
        bundle.write_bytes(data)
        before = tree(root)
        with bundle.open("rb") as file:
            try:
                found = detect(file.fileno(), len(data))
                source: Source = ZipSource(file) if found is Format.ZIP else TarSource(file, found)
                unpack(source, place, LIMITS, packed_bytes=len(data))
                was_good = True
            except BundleError as problem:
                was_good, message = False, problem.message
        assert message.isprintable(), message
        after = {path: what for path, what in tree(root).items() if not path.startswith("work/archive")}
        assert after == before
        assert place.exists() is was_good
        if was_good:
            for path in place.rglob("*"):
                real = os.path.realpath(path)
                assert (
                    real == str(place.resolve())
                    or real.startswith(f"{place.resolve()}/")
                    or not path.exists()
                )
        return was_good


def examine(source: bytes) -> None:
    """What holds for every input."""
    try_to_unpack(source)
