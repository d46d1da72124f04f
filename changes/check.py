"""Check that every change note has a name of the agreed form and says something. Part of `make lint`."""

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.(feature|fix|removal|security)\.md")
LONGEST = 600


def mistakes(folder: Path = FOLDER) -> list[str]:
    """All that is wrong with the notes in `folder`, one sentence each, in the order of the file names."""
    found: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.name in {"README.md", "check.py", "__pycache__"}:
            continue
        if not NAME.fullmatch(path.name):
            found.append(f"changes/{path.name}: the name is not <what>.(feature|fix|removal|security).md")
            continue
        text = path.read_text(encoding="utf-8").strip()
        if not text.endswith((".", "`", ")")):
            found.append(f"changes/{path.name}: is empty or does not end with a sentence")
        elif len(text) > LONGEST:
            found.append(f"changes/{path.name}: {len(text)} characters; a note has {LONGEST} at most")
    return found


if __name__ == "__main__":
    problems = mistakes()
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
