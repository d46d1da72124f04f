"""`ferryman-local` as a process, with all its files in one directory, and applications for it to deploy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMANDS = Path(sys.executable).parent
PATIENCE_SECONDS = 60.0
GROUP = "default-local-deployment-group"
SCRIPTABLE = (
    "BeforeBlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "BeforeInstall",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run of the command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` printed."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def events(self) -> list[str]:
        """The lifecycle events of `--json`, in order."""
        return [event["lifecycleEvent"] for event in self.document["events"]]

    @property
    def folder(self) -> Path:
        """The deployment's folder, as it was printed before the start."""
        (line,) = [line for line in self.out.splitlines() if line.startswith("Folder: ")]
        return Path(line.removeprefix("Folder: "))


class LocalTool:
    """The command for one home. `prefix` goes before the command line, to become somebody else."""

    def __init__(self, home: Path, *, prefix: Sequence[str] = ()) -> None:
        self.home = home
        self.root = home / "deployment-root"
        self.group = self.root / GROUP
        self.prefix = tuple(prefix)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "FERRYMAN_AGENT_HOME": str(home),
        }

    def command(self, *arguments: str, name: str = "ferryman-local") -> list[str]:
        """The whole command line."""
        return [*self.prefix, str(COMMANDS / name), *arguments]

    def run(self, *arguments: str, cwd: Path, name: str = "ferryman-local", **environ: str) -> Result:
        """Runs it to its end."""
        done = subprocess.run(
            self.command(*arguments, name=name),
            cwd=cwd,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def deployments(self, group: str = GROUP) -> list[str]:
        """The folders of a deployment group."""
        folder = self.root / group
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def application(
    folder: Path,
    hooks: Iterable[str] | Mapping[str, str] = SCRIPTABLE,
    *,
    destination: Path | None = None,
    text: str = "content",
) -> Path:
    """Makes a revision whose hooks say their name and deployment, or run the shell words that are given."""
    folder.mkdir(parents=True, exist_ok=True)
    scripts = dict(hooks) if isinstance(hooks, Mapping) else dict.fromkeys(hooks, "")
    lines = ["version: 0.0", "os: linux"]
    if destination is not None:
        (folder / "content.txt").write_text(text)
        lines += ["files:", f"  - {{source: content.txt, destination: {destination}}}"]
    if scripts:
        lines.append("hooks:")
    for event, words in scripts.items():
        script = folder / "scripts" / f"{event}.sh"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\necho "ran $LIFECYCLE_EVENT of $DEPLOYMENT_ID {text}"\n{words}\n')
        script.chmod(0o755)
        lines += [f"  {event}:", f"    - location: scripts/{event}.sh"]
    (folder / "appspec.yml").write_text("\n".join(lines) + "\n")
    return folder
