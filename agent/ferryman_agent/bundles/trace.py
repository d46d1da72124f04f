"""The trace of downloads, where it is switched on: what was asked and answered, without what opens doors (V2-273)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ferryman_agent.bundles.address import shown_url
from ferryman_agent.files.rotate import BySize, RotatedFile

FILES = 16
MODE = 0o640
REDACTED = "<redacted>"

_SECRET = re.compile(r"auth|token|cookie|secret|signature|credential|key", re.IGNORECASE)
_ADDRESSES = frozenset({"location", "content-location", "referer", "link"})


class Trace:
    """Appends to one file, which several processes may do. What cannot be written is left out."""

    def __init__(self, path: str) -> None:
        self._file = RotatedFile(Path(path), BySize(files=FILES), mode=MODE) if path else None

    def request(self, url: str, headers: Mapping[str, str]) -> None:
        """Something is asked for."""
        self._write(">", f"GET {shown_url(url)}", headers.items())

    def answer(self, status: int, reason: str, headers: Iterable[tuple[str, str]]) -> None:
        """Something is answered; its content is not kept."""
        self._write("<", f"{status} {reason}", headers)

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, way: str, first: str, headers: Iterable[tuple[str, str]]) -> None:
        if self._file is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        lines = [f"{at} {way} {first}", *(f"    {name}: {_shown(name, value)}" for name, value in headers)]
        text = "".join(f"{_printable(line)}\n" for line in lines)
        # A full disk must not cost the download.
        with contextlib.suppress(OSError):
            self._file.write(text.encode(errors="backslashreplace"))


def _shown(name: str, value: str) -> str:
    if _SECRET.search(name):
        return REDACTED
    return shown_url(value) if name.lower() in _ADDRESSES else value


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
