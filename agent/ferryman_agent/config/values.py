"""The kinds of value that a setting can have besides text, numbers and yes/no: durations and sizes."""

from __future__ import annotations

import re

_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(?:\d{1,12}(?:ms|[smhd]))+")
_DURATION_PART = re.compile(r"(\d+)(ms|[smhd])")
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"(\d{1,15}) ?(B|KiB|MiB|GiB|TiB)?")


class Duration(int):
    """Milliseconds; written `500ms`, `30s`, `5m`, `12h`, `7d`, or several of them in a row (`1h30m`)."""

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Raises ValueError for anything else, bare numbers included: their unit would be a guess."""
        if not isinstance(text, str) or not _DURATION.fullmatch(text):
            raise ValueError(f"{text!r} is no duration: write it with a unit, such as 30s, 5m, 12h or 7d")
        return cls(sum(int(number) * _MS[unit] for number, unit in _DURATION_PART.findall(text)))

    @property
    def seconds(self) -> float:
        return int(self) / 1000

    def __str__(self) -> str:
        left, parts = int(self), []
        for unit in ("d", "h", "m", "s", "ms"):
            count, left = divmod(left, _MS[unit])
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts) or "0s"


class ByteSize(int):
    """Bytes; written `512MiB`, `10GiB`, or as a bare number."""

    @classmethod
    def parse(cls, text: object) -> ByteSize:
        """Raises ValueError for anything that is no size."""
        if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
            return cls(text)
        match = _SIZE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} is no size: write bytes, or a number with KiB, MiB, GiB or TiB")
        return cls(int(match[1]) * _BYTES[match[2] or ""])

    def __str__(self) -> str:
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if self and self % _BYTES[unit] == 0:
                return f"{int(self) // _BYTES[unit]}{unit}"
        return str(int(self))
