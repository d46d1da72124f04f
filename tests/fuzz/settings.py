"""The agent's configuration, by its own keys and by the original's: read, or refused with the file's name (AG-058)."""

from __future__ import annotations

from ferryman_agent.config import parse
from ferryman_agent.errors import ConfigError

NAMES = ("/etc/ferryman/ferrymanagent.yml", "/etc/codedeploy-agent/conf/codedeployagent.yml")
_ENVIRONMENT = {"FERRYMAN_AGENT_HOME": "/nowhere"}


def examine(source: bytes) -> None:
    """What holds for every input. Raises AssertionError, or whatever the reader should not have let out."""
    for name in NAMES:
        said = _said(source, name)
        # One mistake a line: nothing in the file can make up another line, or colour one.
        assert all(line.isprintable() for line in said.split("\n")), said


def _said(source: bytes, name: str) -> str:
    try:
        return "\n".join(parse(source, name, _ENVIRONMENT).warnings)
    except ConfigError as error:
        if name not in str(error):
            raise AssertionError(f"{error} does not name the file") from error
        return str(error)
