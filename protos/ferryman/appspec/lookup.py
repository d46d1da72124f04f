"""Which file of a revision is its AppSpec file (AG-262), and what resembles one (AG-255, AG-264)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

DEFAULT_NAME = "appspec.yml"
SECOND_NAME = "appspec.yaml"


def find_appspec_name(names: Collection[str], wanted: str = DEFAULT_NAME) -> str | None:
    """Returns the path to use among the files of a revision: `wanted`, `appspec.yaml`, `appspec.yml`; else None."""
    wanted = wanted.removeprefix("./") or DEFAULT_NAME
    return next((name for name in (wanted, SECOND_NAME, DEFAULT_NAME) if name in names), None)


def similar_names(paths: Iterable[str], limit: int = 5) -> list[str]:
    """Returns paths whose file name looks like an AppSpec file's, nearest to the root first."""
    found = [path for path in paths if _looks_like_one(path.rsplit("/", 1)[-1])]
    return sorted(found, key=lambda path: (path.count("/"), path))[:limit]


def _looks_like_one(name: str) -> bool:
    lowered = name.lower()
    return "appspec" in lowered and lowered.endswith((".yml", ".yaml", ".json", "appspec"))
