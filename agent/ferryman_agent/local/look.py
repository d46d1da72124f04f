"""What is at a local path, before anything starts: a directory with an AppSpec file, an archive, or nothing."""

from __future__ import annotations

import stat
from collections.abc import Collection
from pathlib import Path

from ferryman.appspec import SIZE_LIMIT, find_appspec_name, similar_names
from ferryman_agent.files.appspec_file import parse_on_host
from ferryman_agent.local.plan import Found
from ferryman_agent.system import fs


def look(path: str, appspec: str, possible_events: Collection[str]) -> Found:
    """Looks at the path. Nothing is raised: what cannot be read is said.

    `possible_events`: what the hooks of a directory's AppSpec file may be.
    """
    try:
        mode = fs.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return _directory(Path(path), appspec, possible_events)
    except (FileNotFoundError, NotADirectoryError):
        return Found(path=path, kind="missing")
    except OSError as problem:
        return Found(path=path, kind="other", problem=problem.strerror or str(problem))
    readable = fs.access(path, fs.R_OK)
    kind = "file" if stat.S_ISREG(mode) else "other"
    return Found(path=path, kind=kind, problem="" if readable else "permission denied")


def appspec_mistakes(
    directory: Path, appspec: str, possible_events: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the paths that were tried where there is no AppSpec file, and the mistakes in the one that is there.

    Raises OSError.
    """
    tried = tuple(dict.fromkeys((appspec, "appspec.yaml", "appspec.yml")))
    there = [name for name in tried if (directory / name).is_file()]
    name = find_appspec_name(there, appspec)
    if name is None:
        like = similar_names([each for each in fs.listdir(directory) if (directory / each).is_file()])
        hint = tuple(f"{directory / each} (which has another name)" for each in like)
        return (tuple(str(directory / each) for each in tried) + hint, ())
    with (directory / name).open("rb") as file:
        source = file.read(SIZE_LIMIT + 1)
    parsed = parse_on_host(source, tuple(possible_events))
    return ((), tuple(finding.describe(str(directory / name)) for finding in parsed.errors))


def _directory(path: Path, appspec: str, possible_events: Collection[str]) -> Found:
    try:
        tried, mistakes = appspec_mistakes(path, appspec, possible_events)
    except OSError as problem:
        return Found(path=str(path), kind="directory", problem=problem.strerror or str(problem))
    return Found(path=str(path), kind="directory", appspec_tried=tried, appspec_mistakes=mistakes)
