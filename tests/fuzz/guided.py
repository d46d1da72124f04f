"""One fuzz target under atheris: python -m tests.fuzz.guided TARGET SECONDS FOLDER (see tests/fuzz/__main__.py).

A module of its own, since what is to be watched must be imported under the watch.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # not part of the locks

WATCHED = ["ferryman.appspec", "ferryman_agent"]
HANG_SECONDS = 10
MEMORY_MIB = 1024


def main(name: str, seconds: str, found: str) -> None:
    """Runs for so long; ends with another exit code than 0 when an input broke the target, which is then in `found`."""
    with atheris.instrument_imports(include=WATCHED):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    options = [f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}"]
    options += [f"-max_len={target.longest}", f"-artifact_prefix={Path(found) / name}-", "-verbosity=0"]
    with tempfile.TemporaryDirectory(prefix="ferryman-fuzz-") as grown:
        # New inputs go to the first folder; the corpus in the repository is only read.
        atheris.Setup(
            [sys.argv[0], grown, str(target.corpus), *options, "-print_final_stats=1"], target.examine
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
