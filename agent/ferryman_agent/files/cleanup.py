"""The cleanup journal: what a group's installs have made on the host, so that the next one can take it away.

One absolute path a line (AG-160). A path that a line cannot hold as it is, with a line break, blanks at its ends or
bytes that are not UTF-8, is written as a JSON string, which begins with a quotation mark (AG-164, V2-186).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ferryman.appspec import normal_destination
from ferryman_agent.core.contexts import Rule
from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.layout import STATE_FILE_MODE
from ferryman_agent.system import fs

_NEEDS_CARE = re.compile(r"\0|//|/\.|/\Z")
_ANY_NEEDS_CARE = re.compile(r"\0|//|/\.{0,2}(?:/|$)|^[^/]|^$", re.MULTILINE)
_SELINUX = b"semanage\0"


@dataclass(frozen=True, slots=True)
class Journal:
    """What was read. `contexts` are records of SELinux rules, kept as they are; `warnings` are for people.

    is_clean: the file has all this and nothing else, and can be appended to.
    """

    paths: tuple[str, ...] = ()
    contexts: tuple[bytes, ...] = ()
    warnings: tuple[str, ...] = ()
    is_clean: bool = False


def read_journal(path: Path, *, keep: bool = False) -> Journal:
    """Reads a journal; an empty one where there is none. `keep`: it is another group's, and stays as it is.

    One that somebody else could have written is not believed, and removed (V2-181). A last line without its end was
    being written when the agent died and is left out (AG-162), lines that mean nothing too (V2-184). Raises OSError.
    """
    content = _trusted(path)
    if content is None:
        return Journal()
    if isinstance(content, str):
        if not keep:
            path.unlink(missing_ok=True)
        return Journal(warnings=(content,))
    if (found := _ordinary(content)) is not None:
        return Journal(found, is_clean=True)
    paths: dict[str, None] = {}
    contexts: list[bytes] = []
    bad = 0
    for line in content.split(b"\n")[:-1]:
        if line.startswith(_SELINUX):
            contexts.append(line)
            continue
        entry = _decode(line)
        if entry is None:
            bad += bool(line)
        else:
            paths[entry] = None
    warnings = (f"{bad} lines of {path} are not paths and were left out",) if bad else ()
    return Journal(tuple(paths), tuple(contexts), warnings, is_clean=not bad and content[-1:] in (b"", b"\n"))


def write_journal(path: Path, journal: Journal) -> None:
    """Replaces a journal, atomically. Raises OSError."""
    lines = [*journal.contexts, *(_encode(entry) for entry in journal.paths)]
    write_atomic(path, b"".join(line + b"\n" for line in lines), STATE_FILE_MODE)


class JournalWriter:
    """Appends to a journal; what was added is on the disk when `add` returns (AG-163)."""

    def __init__(self, path: Path) -> None:
        """Opens or creates it. Raises OSError."""
        flags = fs.O_WRONLY | fs.O_CREAT | fs.O_APPEND | fs.O_NOFOLLOW
        self._descriptor = fs.open(path, flags, STATE_FILE_MODE)

    def add(self, paths: Iterable[str]) -> None:
        """Writes paths before something is done to them. Raises OSError."""
        data = memoryview(b"".join(_encode(path) + b"\n" for path in paths))
        if not data:
            return
        while data:
            data = data[os.write(self._descriptor, data) :]
        fs.fsync(self._descriptor)

    def add_rules(self, rules: Iterable[Rule]) -> None:
        """Writes SELinux rules before they are made. Raises OSError."""
        data = b"".join(rule_line(rule) + b"\n" for rule in rules)
        if data:
            os.write(self._descriptor, data)
            fs.fsync(self._descriptor)

    def size(self) -> int:
        """Returns the length of the file in bytes. Raises OSError."""
        return fs.fstat(self._descriptor).st_size

    def sync(self) -> None:
        """Forces the file to the disk, its length too. Raises OSError."""
        fs.fsync(self._descriptor)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._descriptor)


def rules_of(journal: Journal) -> dict[str, Rule]:
    """Returns the SELinux rules that the group has made, by path (AG-160)."""
    found = {}
    for line in journal.contexts:
        path, _, previous = line.removeprefix(_SELINUX).partition(b"\0")
        decoded = _decode(path)
        if decoded is not None:
            found[decoded] = Rule(decoded, previous.decode("utf-8", "replace"))
    return found


def rule_line(rule: Rule) -> bytes:
    """Returns the journal's line: as the original's and, after another NUL, the label of the rule that was replaced."""
    line = _SELINUX + _encode(rule.path)
    return line + b"\0" + rule.previous.encode() if rule.previous else line


def _trusted(path: Path) -> bytes | str | None:
    """Returns the content; a sentence when it must not be believed; None when there is nothing."""
    try:
        descriptor = fs.open(path, fs.O_RDONLY | fs.O_NOFOLLOW | fs.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as problem:
        with contextlib.suppress(OSError):
            if stat.S_ISLNK(path.lstat().st_mode):
                return f"the cleanup journal {path} is a link and was not carried out"
        raise problem from None
    with os.fdopen(descriptor, "rb") as file:
        status = fs.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != fs.geteuid() or status.st_mode & 0o022:
            return f"the cleanup journal {path} could have been written by others and was not carried out"
        return file.read()


def _ordinary(content: bytes) -> tuple[str, ...] | None:
    """Returns the paths of a journal of nothing but lines in which nothing can be wrong, looked at all at once."""
    if not content.endswith(b"\n") or not content.isascii():
        return None
    text = content[:-1].decode("ascii")
    return None if _ANY_NEEDS_CARE.search(text) else tuple(dict.fromkeys(text.split("\n")))


def _encode(path: str) -> bytes:
    if path.isascii() and path.isprintable() and path[0] == "/" and path[-1] != " ":
        return path.encode()
    raw = os.fsencode(path)
    is_plain = b"\n" not in raw and b"\r" not in raw and raw == raw.strip() and raw.startswith(b"/")
    if is_plain:
        with contextlib.suppress(UnicodeDecodeError):
            raw.decode("utf-8")
            return raw
    return json.dumps(path).encode("ascii")


def _decode(line: bytes) -> str | None:
    if line.startswith(b'"'):
        try:
            text = json.loads(line)
        except ValueError:
            return None
    else:
        text = os.fsdecode(line)
        if text.isascii() and text.startswith("/") and not _NEEDS_CARE.search(text):
            return text
    if not isinstance(text, str) or "\0" in text:
        return None
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return None
    return normal_destination(text)
