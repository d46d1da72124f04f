"""Where the agent's files are looked for, and where they go, when the configuration does not say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

HOME_VARIABLE = "FERRYMAN_AGENT_HOME"

_OWN_FILE = "ferrymanagent.yml"
SYSTEM_FILES = (Path("/etc/ferryman-agent/conf") / _OWN_FILE, Path("/opt/ferryman-agent/conf") / _OWN_FILE)
ORIGINALS_FILE = Path("/etc/codedeploy-agent/conf/codedeployagent.yml")
_OWN_IDENTITY = "ferryman.onpremises.yml"
ORIGINALS_IDENTITY = Path("/etc/codedeploy-agent/conf/codedeploy.onpremises.yml")


def default_path(environment: Mapping[str, str]) -> Path:
    """Where the configuration is looked for when nobody says (AG-002, AG-056)."""
    if home := environment.get(HOME_VARIABLE):
        return Path(home) / _OWN_FILE
    if os.geteuid() != 0:
        base = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return Path(base) / "ferryman-agent" / _OWN_FILE
    candidates = (*SYSTEM_FILES, ORIGINALS_FILE)
    return next((path for path in candidates if path.is_file()), SYSTEM_FILES[0])


def default_on_premises(environment: Mapping[str, str]) -> str:
    """Where the identity file is looked for: beside our configuration, then where the original has it (AG-K07)."""
    ours = default_path(environment).with_name(_OWN_IDENTITY)
    is_originals = not ours.exists() and os.geteuid() == 0 and not environment.get(HOME_VARIABLE)
    return str(ORIGINALS_IDENTITY if is_originals else ours)


def default_directories(environment: Mapping[str, str]) -> dict[str, str]:
    """Where files go when the configuration does not say."""
    if home := environment.get(HOME_VARIABLE):
        below = Path(home).absolute()
        names = {"root_dir": "deployment-root", "log_dir": "log", "pid_dir": "pid", "state_dir": "state"}
        return {key: str(below / name) for key, name in names.items()}
    if os.geteuid() == 0:
        return {
            "root_dir": "/opt/codedeploy-agent/deployment-root",
            "log_dir": "/var/log/aws/codedeploy-agent",
            "pid_dir": "/opt/codedeploy-agent/state/.pid",
            "state_dir": "/var/lib/ferryman-agent",
        }
    data = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "ferryman-agent"
    state = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ferryman-agent"
    runtime = environment.get("XDG_RUNTIME_DIR")
    return {
        "root_dir": str(data / "deployment-root"),
        "log_dir": str(state / "log"),
        "pid_dir": str(Path(runtime) / "ferryman-agent" if runtime else state / "pid"),
        "state_dir": str(state),
    }
