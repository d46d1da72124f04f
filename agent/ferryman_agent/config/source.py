"""From a file and the environment to a checked `Config`, or to every mistake in the file at once.

Unknown keys are warnings (AG-060): files written for the original, or for another version, must not keep an agent from
starting. Everything else that is wrong does.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import yaml

from ferryman_agent.config.original import MEANINGS, RETIRED, Key
from ferryman_agent.config.schema import Config, Section
from ferryman_agent.config.values import ByteSize, Duration
from ferryman_agent.errors import ConfigError

HOME_VARIABLE = "FERRYMAN_AGENT_HOME"
_SIZE_LIMIT = 1 << 20
_DIRECTORIES = ("root_dir", "log_dir", "pid_dir", "state_dir")

_OWN_FILE = "ferrymanagent.yml"
_SYSTEM_FILES = (Path("/etc/ferryman-agent/conf") / _OWN_FILE, Path("/opt/ferryman-agent/conf") / _OWN_FILE)
_ORIGINALS_FILE = Path("/etc/codedeploy-agent/conf/codedeployagent.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings, where they came from (None: no file, all defaults), and what about them deserves a warning."""

    config: Config
    path: Path | None
    warnings: tuple[str, ...]


def load(path: Path | None, environment: Mapping[str, str], *, must_exist: bool = True) -> Loaded:
    """Reads the file at `path`, or else the default one where there is one (V2-382).

    Raises ConfigError that lists every mistake, one a line, each with its place.
    """
    chosen = path or default_path(environment)
    source = _read(chosen, must_exist=path is not None and must_exist)
    loaded = parse(source or b"", str(chosen), environment)
    if path is None and source is not None and chosen == _ORIGINALS_FILE:
        note = f"{chosen}: read for want of a configuration of our own ({_SYSTEM_FILES[0]})"
        loaded = Loaded(config=loaded.config, path=chosen, warnings=(note, *loaded.warnings))
    return Loaded(config=loaded.config, path=None if source is None else chosen, warnings=loaded.warnings)


def parse(source: bytes, name: str, environment: Mapping[str, str]) -> Loaded:
    """Checks the text of a configuration; `name` is where it comes from. Raises ConfigError."""
    reading = _Reading()
    _take_source(source, name, reading)
    reading.check_directories()
    if reading.mistakes:
        lines = "\n".join(f"  {line}" for line in reading.mistakes)
        raise ConfigError(f"cannot use the configuration:\n{lines}")
    config = _with_directories(_assemble(Config, (), reading.values), environment)
    return Loaded(config=config, path=None, warnings=tuple(reading.warnings))


def default_path(environment: Mapping[str, str]) -> Path:
    """Where the configuration is looked for when nobody says (AG-002, AG-056)."""
    if home := environment.get(HOME_VARIABLE):
        return Path(home) / _OWN_FILE
    if os.geteuid() != 0:
        base = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return Path(base) / "ferryman-agent" / _OWN_FILE
    candidates = (*_SYSTEM_FILES, _ORIGINALS_FILE)
    return next((path for path in candidates if path.is_file()), _SYSTEM_FILES[0])


def default_directories(environment: Mapping[str, str]) -> dict[str, str]:
    """Where files go when the configuration does not say."""
    if home := environment.get(HOME_VARIABLE):
        below = Path(home).absolute()
        names = {"root_dir": "deployment-root", "log_dir": "log", "pid_dir": "pid", "state_dir": "state"}
        return {key: str(below / name) for key, name in names.items()}
    if os.geteuid() == 0:
        return {
            "root_dir": "/opt/codedeploy-agent/deployment-root",
            "log_dir": "/var/log/aws/codedeploy-agent",
            "pid_dir": "/opt/codedeploy-agent/state/.pid",
            "state_dir": "/var/lib/ferryman-agent",
        }
    data = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "ferryman-agent"
    state = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ferryman-agent"
    runtime = environment.get("XDG_RUNTIME_DIR")
    return {
        "root_dir": str(data / "deployment-root"),
        "log_dir": str(state / "log"),
        "pid_dir": str(Path(runtime) / "ferryman-agent" if runtime else state / "pid"),
        "state_dir": str(state),
    }


def leaves(
    struct: type[Section] = Config, prefix: Key = ()
) -> Iterator[tuple[Key, msgspec.structs.FieldInfo]]:
    """Every setting with its path, such as `("hooks", "cwd")`, in the order of the schema."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from leaves(field.type, (*prefix, field.name))
        else:
            yield (*prefix, field.name), field


class _Reading:
    """Collects values, mistakes and warnings while a file is walked through."""

    def __init__(self) -> None:
        self.fields = dict(leaves())
        self.sections = {key[:1] for key in self.fields if len(key) > 1}
        self.values: dict[Key, object] = {}
        self.origins: dict[Key, str] = {}
        self.mistakes: list[str] = []
        self.warnings: list[str] = []

    def take(self, key: Key, raw: object, origin: str, shown: str) -> None:
        """Converts one raw value; `shown` is its name in the file."""
        field = self.fields[key]
        try:
            value = msgspec.convert(raw, field.type, strict=True, dec_hook=_convert)
        except (msgspec.ValidationError, ValueError, OverflowError) as error:
            self.mistakes.append(f"{origin}: {shown}: {str(error).split(' - at `$')[0]}")
            return
        mistake = _out_of_span(field, value)
        if mistake:
            self.mistakes.append(f"{origin}: {shown}: {mistake}")
        elif key in self.values:
            self.mistakes.append(f"{origin}: {shown}: is set twice, first at {self.origins[key]}")
        else:
            self.values[key], self.origins[key] = value, origin

    def take_mapping(self, mapping: Mapping[Any, object], prefix: Key, lines: Mapping[Key, str]) -> None:
        """Walks one level of the file."""
        for name, raw in mapping.items():
            plain = _plain_key(name)
            key = (*prefix, plain)
            origin = lines.get((*prefix, str(name)), "")
            if key in self.sections:
                if isinstance(raw, Mapping):
                    self.take_mapping(raw, key, lines)
                elif raw is not None:
                    self.mistakes.append(f"{origin}: {plain}: is a section, so settings stand below it")
            elif key in self.fields:
                self.take(key, raw, origin, ".".join(key))
            elif not prefix and plain in MEANINGS:
                self._take_original(plain, raw, origin)
            elif not prefix and plain in RETIRED:
                self.warnings.append(f"{origin}: {plain}: is ignored, {RETIRED[plain]}")
            else:
                near = _nearest(key, self.fields)
                self.warnings.append(f"{origin}: {'.'.join(key)}: is unknown and ignored{near}")

    def check_directories(self) -> None:
        """Paths must be absolute: an agent has no directory that they could be meant from."""
        for key in (*((name,) for name in _DIRECTORIES), ("install", "root")):
            value = self.values.get(key)
            if isinstance(value, str) and value and (not Path(value).is_absolute() or "\0" in value):
                self.mistakes.append(
                    f"{self.origins[key]}: {'.'.join(key)}: {value!r} is not an absolute path"
                )

    def _take_original(self, name: str, raw: object, origin: str) -> None:
        meaning = MEANINGS[name]
        try:
            self.take(meaning.key, meaning.convert(raw), origin, name)
        except ValueError as error:
            self.mistakes.append(f"{origin}: {name}: {error}")


def _take_source(source: bytes, name: str, reading: _Reading) -> None:
    if len(source) > _SIZE_LIMIT:
        reading.mistakes.append(f"{name}: is larger than 1 MiB, so it is no configuration")
        return
    try:
        loader = yaml.CSafeLoader(source)
        node = loader.get_single_node()
        content = loader.construct_document(node) if node is not None else {}
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        reading.mistakes.append(f"{name}: is no YAML: {' '.join(str(error).split())}")
        return
    if content is None:
        return
    if not isinstance(content, Mapping):
        reading.mistakes.append(f"{name}: must hold settings (name: value)")
        return
    lines: dict[Key, str] = {}
    for key, line in _places(node, (), depth=0):
        if key in lines:
            reading.mistakes.append(f"{name}:{line}: {'.'.join(key)}: is there twice, first at {lines[key]}")
        lines[key] = f"{name}:{line}"
    reading.take_mapping(content, (), lines)


def _read(path: Path, *, must_exist: bool) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_SIZE_LIMIT + 1)
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"cannot read the configuration {path}: there is no such file") from None
        return None
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error


def _plain_key(name: object) -> str:
    """`:root_dir:` and `root_dir:` are the same key (AG-059)."""
    return str(name).removeprefix(":")


def _places(node: yaml.Node | None, prefix: Key, *, depth: int) -> Iterator[tuple[Key, int]]:
    if isinstance(node, yaml.MappingNode) and depth < 3:
        for name, value in node.value:
            key = (*prefix, str(name.value))
            yield key, name.start_mark.line + 1
            yield from _places(value, key, depth=depth + 1)


def _convert(kind: type, raw: object) -> object:
    if kind in (Duration, ByteSize):
        return kind.parse(raw)
    raise ValueError(f"cannot make {kind.__name__} of {raw!r}")


def _out_of_span(field: msgspec.structs.FieldInfo, value: object) -> str:
    for meta in get_args(field.type)[1:] if get_origin(field.type) else ():
        span = getattr(meta, "extra", None) or {}
        if span and isinstance(value, Duration | ByteSize):
            least, most = type(value).parse(span["least"]), type(value).parse(span["most"])
            if not least <= value <= most:
                return f"{value} is not between {span['least']} and {span['most']}"
    return ""


def _nearest(key: Key, known: Mapping[Key, object]) -> str:
    here = {
        each[len(key) - 1] for each in known if each[: len(key) - 1] == key[:-1] and len(each) >= len(key)
    }
    candidates = here if len(key) > 1 else here | MEANINGS.keys()
    close = difflib.get_close_matches(key[-1], candidates, n=1)
    if close:
        return f", did you mean {'.'.join((*key[:-1], close[0]))}?"
    elsewhere = [each for each in known if each[-1] == key[-1]]
    return f", did you mean {'.'.join(elsewhere[0])}?" if elsewhere else ""


def _assemble(struct: type[Any], prefix: Key, values: Mapping[Key, object]) -> Any:
    given: dict[str, object] = {}
    for field in msgspec.structs.fields(struct):
        key = (*prefix, field.name)
        if isinstance(field.type, type) and issubclass(field.type, Section):
            given[field.name] = _assemble(field.type, key, values)
        elif key in values:
            given[field.name] = values[key]
    return struct(**given)


def _with_directories(config: Config, environment: Mapping[str, str]) -> Config:
    defaults = default_directories(environment)
    missing = {name: defaults[name] for name in _DIRECTORIES if not getattr(config, name)}
    return msgspec.structs.replace(config, **missing)
