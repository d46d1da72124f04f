"""A deployment's `scripts.log` in pieces, for whoever asks the coordinator for all of it (AG-459).

Each piece is asked for by itself, so nothing is remembered between two and no log is ever in memory as a whole. The
older files of a log come first, as if all were one; what an operator masks is masked here as well (AG-461).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferryman_agent.errors import EventError
from ferryman_agent.files.layout import Layout
from ferryman_agent.hooks.output import masked

LARGEST_PIECE = 256 * 1024
_PRINTED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[std(?:out|err)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """`next_offset` is where the next piece begins; `is_last`: nothing is behind it now. `error` is for people."""

    content: bytes = b""
    next_offset: int = 0
    is_last: bool = True
    error: str = ""


def read_piece(
    layout: Layout,
    group_id: str,
    deployment_id: str,
    offset: int,
    *,
    limit: int = LARGEST_PIECE,
    masks: Sequence[re.Pattern[str]] = (),
) -> LogPiece:
    """Returns whole lines of the log from `offset` on, at most `limit` bytes of them; blocks."""
    try:
        path = layout.deployment(group_id, deployment_id).scripts_log
    except EventError as error:
        return LogPiece(error=error.message)
    try:
        files = [*_older(path), path]
        sizes = [file.stat().st_size for file in files]
        content = _read(files, sizes, offset, min(max(1, limit), LARGEST_PIECE))
    except FileNotFoundError:
        return LogPiece(
            error=f"the scripts of deployment {deployment_id} have no log on this instance (any more)"
        )
    except OSError as error:
        return LogPiece(error=f"cannot read {path}: {error.strerror}")
    end = offset + len(content)
    is_last = end >= sum(sizes)
    if not is_last:
        # A mask looks at whole lines, and no line is as long as a piece.
        content = content[: content.rfind(b"\n") + 1] or content
    return LogPiece(
        content=_mask(content, masks) if masks else content,
        next_offset=offset + len(content),
        is_last=is_last,
    )


def _read(files: Sequence[Path], sizes: Sequence[int], offset: int, limit: int) -> bytes:
    pieces = []
    for file, size in zip(files, sizes, strict=True):
        if offset >= size:
            offset -= size
            continue
        with file.open("rb") as opened:
            opened.seek(offset)
            piece = opened.read(min(limit, size - offset))
        pieces.append(piece)
        limit -= len(piece)
        offset = 0
        if limit <= 0:
            break
    return b"".join(pieces)


def _older(path: Path) -> Iterator[Path]:
    numbered = [(each.suffix[1:], each) for each in path.parent.glob(f"{path.name}.*")]
    yield from (
        each for _, each in sorted(((int(n), each) for n, each in numbered if n.isdecimal()), reverse=True)
    )


def _mask(content: bytes, masks: Sequence[re.Pattern[str]]) -> bytes:
    lines = content.decode(errors="surrogateescape").split("\n")
    return "\n".join(_masked(line, masks) for line in lines).encode(errors="surrogateescape")


def _masked(line: str, masks: Sequence[re.Pattern[str]]) -> str:
    """A mask means what a script printed, not what the log puts before it."""
    head = _PRINTED.match(line)
    start = head.end() if head else 0
    return line[:start] + masked(line[start:], masks)
