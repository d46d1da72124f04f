"""`ferryman-agent logs`: what the scripts of a deployment printed, without anybody knowing where that is (AG-545)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ferryman_agent.config import Config
from ferryman_agent.errors import AgentError
from ferryman_agent.files.layout import RESERVED_NAMES, DeploymentDir
from ferryman_agent.system import fs

_PIECE = 64 * 1024


def find(config: Config, deployment_id: str | None) -> Path:
    """Returns the log of a deployment's scripts, the newest one's unless an id is given. Raises AgentError."""
    root = config.root
    try:
        groups = [entry for entry in fs.scandir(root) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        groups = []
    except OSError as error:
        raise AgentError(
            f"cannot read {root}: {error.strerror}; run this as root or as the agent's user, or name its configuration"
            " with --config"
        ) from error
    folders = [
        folder for group in groups if group.name not in RESERVED_NAMES for folder in _folders(group.path)
    ]
    wanted = [folder for folder in folders if deployment_id in (None, folder.name)]
    logs = [path for path in (DeploymentDir(folder).scripts_log for folder in wanted) if path.exists()]
    if logs:
        return max(logs, key=lambda path: path.stat().st_mtime)
    if deployment_id is None:
        raise AgentError(f"no script has run yet: there is no log below {root}")
    if wanted:
        raise AgentError(f"deployment {deployment_id} ran no script here, so it has no log")
    raise AgentError(
        f"deployment {deployment_id} has no files here: `ferryman-agent history` lists those that have"
    )


def lines(path: Path, *, wait: Callable[[], bool] | None = None) -> Iterator[str]:
    """Yields the lines of a log, older files of it first. With `wait` it goes on with what comes until that says no.

    `wait` is called when there is nothing new; the file may be turned meanwhile. Raises AgentError.
    """
    try:
        for older in _older(path):
            with older.open("rb") as file:
                yield from _split(file)
        yield from _current(path, wait)
    except OSError as error:
        raise AgentError(f"cannot read {path}: {error.strerror}") from error


def _current(path: Path, wait: Callable[[], bool] | None) -> Iterator[str]:
    rest = b""
    while True:
        with path.open("rb") as file:
            while True:
                piece = file.read(_PIECE)
                if piece:
                    *whole, rest = (rest + piece).split(b"\n")
                    yield from (_text(line) for line in whole)
                    continue
                if wait is None or not wait():
                    if rest:
                        yield _text(rest)
                    return
                if not _is_still(path, file):
                    # What was written between our last look and the turn is still in the file that we have.
                    break
            *whole, rest = (rest + file.read()).split(b"\n")
            yield from (_text(line) for line in whole)


def _is_still(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), fs.fstat(file.fileno()))
    except FileNotFoundError:
        return True


def _older(path: Path) -> list[Path]:
    numbered = [(each.suffix[1:], each) for each in path.parent.glob(f"{path.name}.*")]
    return [
        each for _, each in sorted(((int(n), each) for n, each in numbered if n.isdecimal()), reverse=True)
    ]


def _folders(group: str) -> list[Path]:
    try:
        return [Path(entry.path) for entry in fs.scandir(group) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _split(file: BinaryIO) -> Iterator[str]:
    for line in file:
        yield _text(line.removesuffix(b"\n"))


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace")
