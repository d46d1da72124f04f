"""Keys that somebody refreshes in a file (`aws_credentials_file`), read anew without a restart (AG-080, V2-341)."""

from __future__ import annotations

import configparser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ferryman_agent.config.values import Secret
from ferryman_agent.errors import IdentityError
from ferryman_agent.host.on_premises import read_private
from ferryman_agent.system import fs

PROFILE = "default"
LIFE_SECONDS = 1800.0
RENEW_SECONDS = LIFE_SECONDS - 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """`session_token` is None for keys that do not end by themselves."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None


def parse(content: bytes, path: Path) -> Credentials:
    """Returns the keys of the profile `default`. Raises IdentityError, which shows no value (V2-342)."""
    reader = configparser.RawConfigParser(default_section="", strict=False, interpolation=None)
    try:
        reader.read_string(content.decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError):
        raise IdentityError(f"the credentials file {path} is no INI file") from None
    if not reader.has_section(PROFILE):
        raise IdentityError(f"the credentials file {path} has no profile [{PROFILE}]")
    values = dict(reader.items(PROFILE))
    for key in ("aws_access_key_id", "aws_secret_access_key"):
        if key not in values:
            raise IdentityError(f"the credentials file {path}: [{PROFILE}] has no {key}")
        if not (values[key] or "").strip():
            raise IdentityError(f"the credentials file {path}: {key} of [{PROFILE}] is empty")
    token = (values.get("aws_session_token") or "").strip()
    return Credentials(
        access_key_id=values["aws_access_key_id"].strip(),
        secret_access_key=Secret(values["aws_secret_access_key"].strip()),
        session_token=Secret(token) if token else None,
    )


def read(path: Path, user: str = "") -> Credentials:
    """Returns the keys of a file that must be there. Raises IdentityError (V2-353)."""
    content = read_private(path, "credentials file", user)
    if content is None:
        raise IdentityError(f"cannot read the credentials file {path}: there is no such file")
    return parse(content, path)


class FileCredentials:
    """The keys of one file for as long as a process lives. `monotonic` gives seconds."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._current: Credentials | None = None
        self._read_at = 0.0
        self._mark: tuple[int, ...] = ()

    def current(self) -> Credentials:
        """Returns the keys that count now; the file is read when it changed, and after 25 minutes anyway.

        Where that fails, those of before serve until they are 30 minutes old. Raises IdentityError after that.
        """
        age, mark = self._monotonic() - self._read_at, self._file_mark()
        if self._current is not None and mark == self._mark and age < RENEW_SECONDS:
            return self._current
        try:
            self._current = read(self._path)
        except IdentityError:
            if self._current is None or age >= LIFE_SECONDS:
                raise
            return self._current
        self._read_at, self._mark = self._monotonic(), mark
        return self._current

    def refused(self) -> None:
        """Somebody did not accept the keys: the next question reads the file, changed or not."""
        self._mark = ()

    def _file_mark(self) -> tuple[int, ...]:
        try:
            found = fs.stat(self._path)
        except OSError:
            return (0,)
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
