"""Where the agent's files are looked for, and where they go, when the configuration does not say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ferryman_agent.system import fs, own

HOME_VARIABLE = "FERRYMAN_AGENT_HOME"

_OWN_FILE = own.CONFIG_FILES[0].name
SYSTEM_FILES = own.CONFIG_FILES
ORIGINALS_FILE = own.ORIGINALS_CONFIG
ORIGINALS_IDENTITY = own.ORIGINALS_IDENTITY


def default_path(environment: Mapping[str, str]) -> Path:
    """Where the configuration is looked for when nobody says (AG-002, AG-056)."""
    if home := environment.get(HOME_VARIABLE):
        return Path(home) / _OWN_FILE
    if fs.geteuid() != 0:
        base = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return Path(base) / "ferryman-agent" / _OWN_FILE
    candidates = (*SYSTEM_FILES, ORIGINALS_FILE)
    return next((path for path in candidates if path.is_file()), SYSTEM_FILES[0])


def default_on_premises(environment: Mapping[str, str]) -> str:
    """Where the identity file is looked for: beside our configuration, then where the original has it (AG-K07)."""
    ours = default_path(environment).with_name(own.IDENTITY_NAME)
    is_originals = not ours.exists() and fs.geteuid() == 0 and not environment.get(HOME_VARIABLE)
    return str(ORIGINALS_IDENTITY if is_originals else ours)


def default_directories(environment: Mapping[str, str]) -> dict[str, str]:
    """Where files go when the configuration does not say."""
    if home := environment.get(HOME_VARIABLE):
        below = Path(home).absolute()
        names = {"root_dir": "deployment-root", "log_dir": "log", "pid_dir": "pid", "state_dir": "state"}
        return {key: str(below / name) for key, name in names.items()}
    if fs.geteuid() == 0:
        return dict(own.DIRECTORIES)
    data = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "ferryman-agent"
    state = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ferryman-agent"
    runtime = environment.get("XDG_RUNTIME_DIR")
    return {
        "root_dir": str(data / "deployment-root"),
        "log_dir": str(state / "log"),
        "pid_dir": str(Path(runtime) / "ferryman-agent" if runtime else state / "pid"),
        "state_dir": str(state),
    }
