"""Command lines of scripts on Windows (AG-535, V2-253). Pure: nothing here asks the machine."""

from __future__ import annotations

import ntpath
import subprocess
from enum import StrEnum

LONGEST_PATH = 259
"""What cmd and PowerShell can open; programs that the system starts itself have no such limit (AG-539)."""


class ScriptKind(StrEnum):
    """What starts a script, by the end of its name."""

    BATCH = "batch"
    POWERSHELL = "powershell"
    PROGRAM = "program"


_KINDS = {
    ".bat": ScriptKind.BATCH,
    ".cmd": ScriptKind.BATCH,
    ".ps1": ScriptKind.POWERSHELL,
    ".exe": ScriptKind.PROGRAM,
    ".com": ScriptKind.PROGRAM,
}


def kind_of(location: str) -> ScriptKind | None:
    """Returns what kind of script that is, None for what Windows does not start."""
    return _KINDS.get(ntpath.splitext(location)[1].lower())


def why_not(path: str, location: str) -> str:
    """Returns why a script cannot be started as it is named, empty text when it can."""
    kind = kind_of(location)
    if kind is None:
        return f"{location} is none of {', '.join(_KINDS)}, which is what Windows can start"
    if kind is ScriptKind.BATCH and "%" in path:
        return f"the path of {location} has a percent sign, which cmd takes for the beginning of a variable: {path}"
    if kind is not ScriptKind.PROGRAM and len(path) > LONGEST_PATH:
        return (
            f"the path of {location} is longer than {LONGEST_PATH} characters, which is what cmd and PowerShell can"
            f" open: choose a shorter root_dir, or a shorter name in the bundle ({path})"
        )
    return ""


def command_line(path: str, system_root: str, *, with_profile: bool = False, is_32_bit: bool = False) -> str:
    """Returns the command line that starts a script, for CreateProcess.

    `with_profile` runs PowerShell as the original's first agent did: with the profile of its user, who may be asked
    (AG-535). Otherwise neither, so that a script does the same on every machine (V2-253). `is_32_bit` takes the
    PowerShell of 32 bits, as that agent's own were.
    """
    kind = kind_of(path)
    if kind is ScriptKind.BATCH:
        cmd = ntpath.join(system_root, "System32", "cmd.exe")
        # /d: no commands of the registry before ours. /s: exactly the outer quotes are taken away.
        return f'{subprocess.list2cmdline([cmd])} /d /s /c ""{path}""'
    if kind is ScriptKind.POWERSHELL:
        folder = "SysWOW64" if is_32_bit else "System32"
        shell = ntpath.join(system_root, folder, "WindowsPowerShell", "v1.0", "powershell.exe")
        options = [] if with_profile else ["-NoProfile", "-NonInteractive"]
        return subprocess.list2cmdline([shell, "-ExecutionPolicy", "Bypass", *options, "-File", path])
    return subprocess.list2cmdline([path])
