"""The variables of the agent that scripts see on Windows (V2-233). Pure."""

from __future__ import annotations

from collections.abc import Mapping

ALLOWED = ("PATH", "SYSTEMROOT", "COMSPEC", "PATHEXT", "TEMP", "TMP", "WINDIR")
"""Windows does not tell cases apart in names of variables."""

_ANYWAY = {"PATHEXT": ".COM;.EXE;.BAT;.CMD"}


def base_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns what of an environment every script sees."""
    folded = {name.upper(): value for name, value in environment.items()}
    return _ANYWAY | {name: folded[name] for name in ALLOWED if folded.get(name)}
