"""`make fuzz`: feeds every reader of foreign input with mutants of its corpus, for so many seconds each.

    python -m tests.fuzz [TARGET…] [--seconds N] [--engine atheris|hypothesis]

With atheris where it is installed, which looks for inputs that reach new code; otherwise Hypothesis mixes the files of
the corpus. Each target runs in a process of its own. An input that breaks a reader is left in `fuzz-found/`: put it
into tests/corpus/TARGET under a name that says what it is, which `make check` tries from then on, and mend the reader.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

FOUND = Path("fuzz-found")
GRACE_SECONDS = 120


def main(arguments: list[str]) -> int:
    """Returns 1 when an input broke something."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Invents input")
    parser.add_argument("targets", nargs="*", help=f"some of {', '.join(TARGETS)}; all without one")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    default = "atheris" if importlib.util.find_spec("atheris") else "hypothesis"
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), default=default)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.targets) - set(TARGETS))
    if unknown:
        parser.error(f"there is no target {', '.join(unknown)}: use some of {', '.join(TARGETS)}")
    broken = [name for name in options.targets or TARGETS if not _holds(name, options)]
    print(f"make fuzz: {', '.join(broken)} broke; see {FOUND}/" if broken else "make fuzz: nothing broke")
    return 1 if broken else 0


def _holds(name: str, options: argparse.Namespace) -> bool:
    print(f"== {name}, {options.seconds} s with {options.engine}", flush=True)
    FOUND.mkdir(exist_ok=True)
    engine = {"atheris": "guided", "hypothesis": "mixing"}[options.engine]
    command = [sys.executable, "-m", f"tests.fuzz.{engine}", name, str(options.seconds), str(FOUND)]
    try:
        done = subprocess.run(command, timeout=options.seconds + GRACE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        print(f"{name} hangs")
        return False
    if not any(FOUND.iterdir()):
        FOUND.rmdir()
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
