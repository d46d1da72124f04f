"""The `.version` file that packages leave beside an installation, as the original's did (AG-030, AG-031)."""

from __future__ import annotations

import re
from pathlib import Path

from ferryman_agent import __version__
from ferryman_agent.system import own

_LIMIT = 4096
_OFFICIAL = re.compile(r"OFFICIAL_(?P<version>[^_\s]+)_(?P<package>rpm|deb|msi)")


def installed(root: Path, *prefix: Path) -> str | None:
    """Returns what the file says, such as `OFFICIAL_1.2.0_deb`: the text after the last `": "` of its first line.

    The one beside the root counts before that of the prefix. None where neither can be read.
    """
    for path in own.version_files(root, *prefix):
        try:
            with path.open("rb") as file:
                line = file.read(_LIMIT).decode("utf-8", errors="replace").partition("\n")[0]
        except OSError:
            continue
        if text := line.rpartition(": ")[2].strip():
            return text
    return None


def remark(found: str | None) -> str | None:
    """Returns a sentence where the package on the disk is not the version that runs, None otherwise.

    The code knows its own version, so no file is needed to tell it, and none can make it say something else.
    """
    match = _OFFICIAL.fullmatch(found or "")
    if match is None or match["version"] == __version__:
        return None
    return f"version {match['version']} is installed and {__version__} runs: restart the agent to use it"
