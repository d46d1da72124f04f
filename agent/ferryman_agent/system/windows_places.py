r"""Where the agent's files are on Windows (AG-532). Pure.

Below `%ProgramData%`: folders that its users can neither change nor be tricked out of, unlike `%ProgramFiles%`, which
is for programs.
"""

from __future__ import annotations

import ntpath
from collections.abc import Mapping
from dataclasses import dataclass

IDENTITY_NAME = "conf.onpremises.yml"
_CONFIG_NAME = "conf.yml"
_LOG_FOLDER = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Paths of Windows. `directories` are by the names of their settings."""

    config_files: tuple[str, ...]
    originals_config: str
    originals_identity: str
    directories: Mapping[str, str]


def places(environment: Mapping[str, str]) -> Places:
    """Returns the default places of this machine."""
    folded = {name.upper(): value for name, value in environment.items()}
    data = folded.get("PROGRAMDATA") or "C:\\ProgramData"
    ours, originals = ntpath.join(data, "Ferryman"), ntpath.join(data, "Amazon", "CodeDeploy")
    return Places(
        config_files=(ntpath.join(ours, _CONFIG_NAME),),
        originals_config=ntpath.join(originals, _CONFIG_NAME),
        originals_identity=ntpath.join(originals, IDENTITY_NAME),
        directories={
            "root_dir": originals,
            "log_dir": ntpath.join(originals, _LOG_FOLDER),
            "pid_dir": ntpath.join(ours, "pid"),
            "state_dir": ntpath.join(ours, "state"),
        },
    )
