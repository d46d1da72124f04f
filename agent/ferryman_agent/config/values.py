"""The kinds of value that a setting can have besides text, numbers and yes/no: durations, sizes, secrets, proxies."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(?:\d{1,12}(?:ms|[smhd]))+")
_DURATION_PART = re.compile(r"(\d+)(ms|[smhd])")
_BYTES = {
    "": 1, "B": 1,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip
_SIZE = re.compile(r"(\d{1,15}) ?(B|[KMGT]i?B)?")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?|[0-9A-Fa-f:.]{2,45}", re.ASCII)
MASK = "***"


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
    """Bytes; written `512MiB`, `10GiB`, `10GB` (powers of 1000), or as a bare number (V2-123)."""

    @classmethod
    def parse(cls, text: object) -> ByteSize:
        """Raises ValueError for anything that is no size."""
        if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
            return cls(text)
        match = _SIZE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} is no size: write bytes, or a whole number with KiB, MiB, GiB or TiB")
        return cls(int(match[1]) * _BYTES[match[2] or ""])

    def __str__(self) -> str:
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if self and self % _BYTES[unit] == 0:
                return f"{int(self) // _BYTES[unit]}{unit}"
        return str(int(self))


class Pattern(str):
    """A regular expression."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Pattern:
        """Raises ValueError for one that cannot be read, or that matches nothing at all."""
        if not isinstance(text, str) or not text:
            raise ValueError(f"{text!r} is no regular expression")
        try:
            compiled = re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from None
        if compiled.match(""):
            raise ValueError(f"{text!r} matches between any two characters")
        return cls(text)


class Secret:
    """Text that nothing shows by accident: `repr`, `str` and formats give a mask (V2-274)."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __reduce__(self) -> str:
        raise TypeError("a secret is not copied into anything that is stored")


class ProxyAddress:
    """`http://[user[:password]@]host[:port]` of a proxy for CONNECT (AG-072, V2-350); shown without its password.

    `user` is as it was meant, percent signs decoded; `port` is 80 unless given, as the original has it.
    """

    __slots__ = ("host", "password", "port", "user")

    def __init__(self, host: str, port: int, user: str = "", password: Secret | None = None) -> None:
        self.host = host
        self.port = port
        self.user = user
        self.password = password or Secret("")

    @classmethod
    def parse(cls, text: object) -> ProxyAddress:
        """Raises ValueError, without the text, which may hold a password."""
        if not isinstance(text, str):
            raise ValueError("is no proxy address: write http://host:port")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", 80 if parts.port is None else parts.port
        except ValueError:
            raise ValueError("is no proxy address: its host or port cannot be read") from None
        if parts.scheme != "http":
            raise ValueError("is no proxy address: it begins with http://, since TLS goes through the proxy")
        if not _HOST.fullmatch(host) or not port or not text.isprintable() or " " in text:
            raise ValueError("is no proxy address: write http://host:port")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError(
                "is no proxy address: nothing follows the port; write %23, %2F and %3F in a password"
            )
        return cls(host, port, unquote(parts.username or ""), Secret(unquote(parts.password or "")))

    @property
    def place(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProxyAddress) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"ProxyAddress({str(self)!r})"

    def __str__(self) -> str:
        user = f"{self.user}:{MASK}@" if self.password else f"{self.user}@" if self.user else ""
        return f"http://{user}{self.place}"

    @property
    def _key(self) -> tuple[str, int, str, Secret]:
        return (self.host, self.port, self.user, self.password)
