"""From a file and the environment to a checked `Config`, or to every mistake in the file at once.

Unknown keys are warnings (AG-060): files written for the original, or for another version, must not keep an agent from
starting. Everything else that is wrong does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ferryman_agent.config import places
from ferryman_agent.config.original import Key
from ferryman_agent.config.reading import SIZE_LIMIT, Reading, assemble
from ferryman_agent.config.schema import Config
from ferryman_agent.config.values import ProxyAddress
from ferryman_agent.config.walk import leaves, value_of
from ferryman_agent.errors import ConfigError
from ferryman_agent.system import fs


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings, where they came from (None: no file, all defaults), and what about them deserves a warning.

    `origins` has a place for each setting that is no plain default: `file:line`, a profile, an option.
    """

    config: Config
    path: Path | None
    warnings: tuple[str, ...]
    origins: Mapping[Key, str]


def load(
    path: Path | None, environment: Mapping[str, str], *, must_exist: bool = True, profile: str | None = None
) -> Loaded:
    """Reads the file at `path`, or else the default one where there is one (V2-382). `profile` wins over the file's.

    Raises ConfigError that lists every mistake, one a line, each with its place.
    """
    chosen = path or places.default_path(environment)
    source, status = _read(chosen, must_exist=path is not None and must_exist)
    loaded = parse(source or b"", str(chosen), environment, profile=profile)
    if status is None:
        return loaded
    notes = list(_file_remarks(chosen, status, loaded.config))
    if path is None and chosen == places.ORIGINALS_FILE:
        notes.append(f"{chosen}: read for want of a configuration of our own ({places.SYSTEM_FILES[0]})")
    return replace(loaded, path=chosen, warnings=(*notes, *loaded.warnings))


def parse(source: bytes, name: str, environment: Mapping[str, str], *, profile: str | None = None) -> Loaded:
    """Checks the text of a configuration; `name` is where it comes from. Raises ConfigError."""
    reading = Reading(environment)
    reading.take_source(source, name)
    if profile is not None:
        reading.override(("profile",), profile, "--profile")
    reading.check()
    if reading.mistakes:
        lines = "\n".join(f"  {line}" for line in reading.mistakes)
        raise ConfigError(f"cannot use the configuration:\n{lines}")
    reading.fill_in(environment)
    config = assemble(Config, (), reading.values)
    return Loaded(config=config, path=None, warnings=tuple(reading.warnings), origins=reading.origins)


def _read(path: Path, *, must_exist: bool) -> tuple[bytes | None, os.stat_result | None]:
    try:
        # A pipe in its place must not hold up the agent.
        descriptor = fs.open(path, fs.O_RDONLY | fs.O_CLOEXEC | fs.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return file.read(SIZE_LIMIT + 1) or b"", fs.fstat(descriptor)
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"cannot read the configuration {path}: there is no such file") from None
        return None, None
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error


def _file_remarks(path: Path, status: os.stat_result, config: Config) -> Iterator[str]:
    """What is wrong with who can read and write the file (V2-343). Without a secret in it, reading harms nobody."""
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (0, fs.geteuid()):
        yield f"{path}: belongs to user {status.st_uid}, who decides what this agent does: run `chown root {path}`"
    if mode & (0o002 if status.st_gid in (0, fs.getegid()) else 0o022):
        yield f"{path}: can be changed by others (mode {mode:04o}): run `chmod go-w {path}`"
    holds = [".".join(key) for key, _ in leaves() if _is_secret(value_of(config, key))]
    if holds and mode & 0o044:
        yield (
            f"{path}: holds a password ({', '.join(holds)}) and can be read by others (mode {mode:04o}): "
            f"run `chmod 600 {path}`"
        )


def _is_secret(value: object) -> bool:
    return isinstance(value, ProxyAddress) and bool(value.password)
