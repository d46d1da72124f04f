"""SELinux file-context rules through `semanage`; labels themselves are set by descriptor (files/access.py)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ferryman_agent.core.contexts import RuleChange, SelinuxHost
from ferryman_agent.errors import InstallError

_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_SPECIAL = re.compile(r"([.^$*+?{}\[\]()|\\])")
_PLAIN = re.compile(r"[^\s'\"#]+")
_ROW = re.compile(
    r"(.*?)\s+(?:all files|regular file|directory|symbolic link|socket|named pipe|block device|character device)"
    r"\s+([^\s:]+:[^\s:]+:\S+)\s*"
)
_SECONDS = 300


def find_selinux(filesystem: Path = Path("/sys/fs/selinux"), search: str = _PATH) -> SelinuxHost | None:
    """Returns what there is of SELinux on this host; None where it is not enabled."""
    if not (filesystem / "enforce").exists():
        return None
    try:
        has_mls = (filesystem / "mls").read_text().strip() != "0"
    except OSError:
        has_mls = True
    tools = (shutil.which(name, path=search) or "" for name in ("semanage", "restorecon"))
    return SelinuxHost(has_mls, *tools)


def local_rules(semanage: str) -> dict[str, str]:
    """Returns the host's own rules: label by path, regular expressions that mean more than one path left out.

    Raises InstallError.
    """
    found = {}
    for line in _run(semanage, ["fcontext", "-l", "-C", "-n"], "list the rules").splitlines():
        match = _ROW.fullmatch(line)
        path = _unescaped(match[1]) if match else None
        if match and path is not None:
            found[path] = match[2]
    return found


def change_rules(semanage: str, changes: Sequence[RuleChange]) -> None:
    """Makes all changes, together as far as the tool can read them so. Raises InstallError, naming object and step."""
    together = []
    for change in changes:
        arguments = _arguments(change)
        if _PLAIN.fullmatch(change.path):
            together.append(" ".join(arguments))
        else:
            _run(semanage, arguments, f"{change.action} the rule for {change.path}")
    if together:
        first = changes[0]
        more = f" and {len(together) - 1} more" if len(together) > 1 else ""
        step = f"{first.action} the rule for {first.path}{more}"
        _run(semanage, ["import"], step, "".join(f"{line}\n" for line in together))


def restore_labels(restorecon: str, paths: Iterable[str]) -> None:
    """Gives objects the labels that the rules of the host say, missing ones left out. Raises InstallError."""
    lines = "".join(f"{path}\n" for path in paths if "\n" not in path)
    if lines and restorecon:
        _run(
            restorecon,
            ["-i", "-F", "-f", "-"],
            "restore the SELinux labels of what has no context any more",
            lines,
        )


def return_to(semanage: str, labels: Mapping[str, str]) -> None:
    """Makes the rules of some paths say these labels, "" for no rule at all. Raises InstallError."""
    local = local_rules(semanage)
    changes = []
    for path, label in labels.items():
        there = local.get(path, "")
        if there != label:
            action = "delete" if not label else "modify" if there else "add"
            changes.append(RuleChange(action, path, label))
    change_rules(semanage, changes)


def _arguments(change: RuleChange) -> list[str]:
    spec = _SPECIAL.sub(r"\\\1", change.path)
    if change.action == "delete":
        return ["fcontext", "-d", spec]
    user, _, kind, *levels = change.label.split(":", 3)
    levels_given = ["-r", levels[0]] if levels else []
    flag = "-a" if change.action == "add" else "-m"
    return ["fcontext", flag, "-s", user, "-t", kind, *levels_given, spec]


def _unescaped(spec: str) -> str | None:
    """Returns the one path that a specification means; None when it means several."""
    if any(mark in re.sub(r"\\.", "", spec) for mark in "^$*+?{}[]()|"):
        return None
    return re.sub(r"\\(.)", r"\1", spec)


def _run(tool: str, arguments: list[str], step: str, text: str = "") -> str:
    environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            [tool, *arguments],
            input=os.fsencode(text),
            capture_output=True,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise InstallError("PERM_CONTEXT_FAILED", f"cannot {step}: {tool}: {problem}") from problem
    if done.returncode:
        said = os.fsdecode(done.stderr).strip()[-500:] or f"exit status {done.returncode}"
        raise InstallError("PERM_CONTEXT_FAILED", f"cannot {step}: {os.path.basename(tool)}: {said}")
    return os.fsdecode(done.stdout)
