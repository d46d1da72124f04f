"""Which revisions of a deployment group may be deleted (AG section 6.4)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionDir:
    """One deployment directory of a group. `size_bytes` counts only where a byte budget is set."""

    name: str
    modified_ns: int
    size_bytes: int = 0


def expired(
    revisions: Sequence[RevisionDir],
    *,
    current: str,
    max_revisions: int,
    protected: Collection[str] = (),
    max_bytes: int | None = None,
) -> tuple[str, ...]:
    """Returns the names to delete, oldest first.

    So many that `max_revisions` remain with the current one (AG-170, AG-171), and then as many more as it takes to stay
    within `max_bytes` (V2-071). Never the current one, nor a `protected` one, which is one that is on the host, in use
    or needed by a deployment in progress (AG-175): it counts, and a younger one goes in its place.
    """
    others = sorted(
        (revision for revision in revisions if revision.name != current),
        key=lambda revision: (revision.modified_ns, revision.name),
    )
    deletable = [revision for revision in others if revision.name not in protected]
    surplus = max(0, len(others) - max_revisions + 1)
    doomed = deletable[:surplus]
    if max_bytes is not None:
        left = sum(revision.size_bytes for revision in revisions) - sum(one.size_bytes for one in doomed)
        for revision in deletable[surplus:]:
            if left <= max_bytes:
                break
            doomed.append(revision)
            left -= revision.size_bytes
    return tuple(revision.name for revision in doomed)
