"""Digests of files, remembered with what `stat` said, so that an unchanged file need not be read again.

As git's index does: a digest counts only while inode, size and both times are the same, and not when the file was
changed so shortly before the record that the clock could not tell.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.hashing import BLOCK as BLOCK
from ferryman_agent.files.hashing import blocks as blocks
from ferryman_agent.files.hashing import sha256_of as sha256_of
from ferryman_agent.files.logged import warn

Mark = tuple[int, int, int, int]
"""Inode, size, modification and change time in nanoseconds."""

_RACY_NS = 20_000_000
_encoder = msgspec.json.Encoder()


def mark_of(status: os.stat_result) -> Mark:
    """Returns what must stay the same for a digest to stay true."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One file: path, what `stat` said, SHA-256."""

    path: str
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    sha256: str

    @property
    def mark(self) -> Mark:
        return self.inode, self.size, self.modified_ns, self.changed_ns


class Installed(Row, array_like=True, frozen=True, gc=False):
    """A file, link or directory as an install left it: what drift is told by. A record of digests can be made of these.

    mode: type and permissions; -1 in records of versions that did not write it. place: where it really is, as far as
    that is another path. target: of a link. sha256 is empty for what is no file. plain: it is known to have no ACL.
    """

    mode: int = -1
    uid: int = -1
    gid: int = -1
    place: str = ""
    target: str = ""
    plain: bool = False


_decoder = msgspec.json.Decoder(list[Row])
_installed_decoder = msgspec.json.Decoder(list[Installed])


@dataclass(slots=True)
class Digests:
    """Path to mark and SHA-256. Paths with bytes that are not UTF-8 hold them as surrogates."""

    rows: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, *, of_install: bool = False) -> Digests:
        """Reads a record; an empty one where there is none or it cannot be used: it only saves work (V2-288).

        One of an install has rows of the type Installed.
        """
        try:
            rows = (_installed_decoder if of_install else _decoder).decode(path.read_bytes())
            return cls({from_text(row.path): row for row in rows})
        except FileNotFoundError:
            return cls()
        except (OSError, msgspec.MsgspecError, UnicodeError, ValueError) as problem:
            warn("digests.unusable", path=str(path), reason=str(problem))
            return cls()

    def as_it_was(self, path: str, status: os.stat_result) -> Row | None:
        """Returns the row of a file that is still as it was, else None."""
        row = self.rows.get(path)
        # Not by mark_of: this is asked for each of thousands of files.
        if row is None or row.changed_ns != status.st_ctime_ns or row.inode != status.st_ino:
            return None
        return row if row.size == status.st_size and row.modified_ns == status.st_mtime_ns else None

    def known(self, path: str, status: os.stat_result) -> str | None:
        """Returns the digest of a file that is still as it was, else None."""
        row = self.as_it_was(path, status)
        return row.sha256 if row is not None else None

    def remember(self, path: str, mark: Mark, digest: str) -> None:
        """Takes a digest into the record."""
        self.rows[path] = Row(to_text(path), *mark, digest)

    def below(self, prefix: str) -> Digests:
        """Returns the rows below a folder, relative to it."""
        start = f"{prefix}/"
        found = Digests()
        for path, row in self.rows.items():
            if path.startswith(start):
                found.remember(path[len(start) :], row.mark, row.sha256)
        return found

    def save(self, path: Path) -> None:
        """Writes the record. Raises OSError.

        Of files that were changed just now it keeps what they were, and not that they still are it.
        """
        newest = _clock_of(path) - _RACY_NS
        rows = [
            row if row.changed_ns < newest else msgspec.structs.replace(row, changed_ns=0)
            for row in self.rows.values()
        ]
        write_atomic(path, _encoder.encode(rows))


def _clock_of(path: Path) -> int:
    # The file system's own clock: the one that change times come from.
    probe = path.with_name(f"{path.name}.probe")
    probe.touch()
    try:
        return probe.stat().st_ctime_ns
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def to_text(name: str) -> str:
    """Returns a path as JSON can hold it, which has no bytes: a NUL, which no path has, marks those that need help."""
    if not name.isascii():
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            return "\0" + os.fsencode(name).hex()
    return name


def from_text(name: str) -> str:
    """Returns the path of a text of `to_text`. Raises ValueError."""
    return os.fsdecode(bytes.fromhex(name[1:])) if name.startswith("\0") else name
