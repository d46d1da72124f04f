"""From a file and the environment to a checked `Config`, or to every mistake in the file at once.

Unknown keys are warnings (AG-060): files written for the original, or for another version, must not keep an agent from
starting. Everything else that is wrong does.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ferryman_agent.config.original import MEANINGS, RETIRED, Key, refusal
from ferryman_agent.config.profiles import PROFILES
from ferryman_agent.config.schema import Config, Profile, Section
from ferryman_agent.config.values import ByteSize, Duration, Pattern, ProxyAddress
from ferryman_agent.config.walk import leaves, span, value_of
from ferryman_agent.errors import ConfigError

HOME_VARIABLE = "FERRYMAN_AGENT_HOME"
_SIZE_LIMIT = 1 << 20
_DEPTH_LIMIT = 50
_DIRECTORIES = ("root_dir", "log_dir", "pid_dir", "state_dir")
_PATHS = (("install", "root"), ("metrics_file",), ("coordinator", "on_premises_file"))

_OWN_FILE = "ferrymanagent.yml"
_SYSTEM_FILES = (Path("/etc/ferryman-agent/conf") / _OWN_FILE, Path("/opt/ferryman-agent/conf") / _OWN_FILE)
_ORIGINALS_FILE = Path("/etc/codedeploy-agent/conf/codedeployagent.yml")
_OWN_IDENTITY = "ferryman.onpremises.yml"
_ORIGINALS_IDENTITY = Path("/etc/codedeploy-agent/conf/codedeploy.onpremises.yml")


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
    chosen = path or default_path(environment)
    source, status = _read(chosen, must_exist=path is not None and must_exist)
    loaded = parse(source or b"", str(chosen), environment, profile=profile)
    if status is None:
        return loaded
    notes = list(_file_remarks(chosen, status, loaded.config))
    if path is None and chosen == _ORIGINALS_FILE:
        notes.append(f"{chosen}: read for want of a configuration of our own ({_SYSTEM_FILES[0]})")
    return replace(loaded, path=chosen, warnings=(*notes, *loaded.warnings))


def parse(source: bytes, name: str, environment: Mapping[str, str], *, profile: str | None = None) -> Loaded:
    """Checks the text of a configuration; `name` is where it comes from. Raises ConfigError."""
    reading = _Reading(environment)
    _take_source(source, name, reading)
    if profile is not None:
        reading.override(("profile",), profile, "--profile")
    reading.check()
    if reading.mistakes:
        lines = "\n".join(f"  {line}" for line in reading.mistakes)
        raise ConfigError(f"cannot use the configuration:\n{lines}")
    reading.fill_in(environment)
    config = _assemble(Config, (), reading.values)
    return Loaded(config=config, path=None, warnings=tuple(reading.warnings), origins=reading.origins)


def default_path(environment: Mapping[str, str]) -> Path:
    """Where the configuration is looked for when nobody says (AG-002, AG-056)."""
    if home := environment.get(HOME_VARIABLE):
        return Path(home) / _OWN_FILE
    if os.geteuid() != 0:
        base = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return Path(base) / "ferryman-agent" / _OWN_FILE
    candidates = (*_SYSTEM_FILES, _ORIGINALS_FILE)
    return next((path for path in candidates if path.is_file()), _SYSTEM_FILES[0])


def default_on_premises(environment: Mapping[str, str]) -> str:
    """Where the identity file is looked for: beside our configuration, then where the original has it (AG-K07)."""
    ours = default_path(environment).with_name(_OWN_IDENTITY)
    is_originals = not ours.exists() and os.geteuid() == 0 and not environment.get(HOME_VARIABLE)
    return str(_ORIGINALS_IDENTITY if is_originals else ours)


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


class _Reading:
    """Collects values, mistakes and warnings while a file is walked through."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.fields = dict(leaves())
        self.sections = {key[:1] for key in self.fields if len(key) > 1}
        self.values: dict[Key, object] = {}
        self.origins: dict[Key, str] = {}
        self.shown: dict[Key, str] = {}
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self._region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""

    def take(self, key: Key, raw: object, origin: str, shown: str) -> None:
        """Converts one raw value; `shown` is its name in the file."""
        field = self.fields[key]
        try:
            value = msgspec.convert(raw, field.type, strict=True, dec_hook=_convert)
        except (msgspec.ValidationError, ValueError, OverflowError) as error:
            mistake = f"{origin}: {shown}: {str(error).split(' - at `$')[0]}"
            if mistake not in self.mistakes:
                self.mistakes.append(mistake)
            return
        mistake = _out_of_span(field, value)
        if mistake:
            self.mistakes.append(f"{origin}: {shown}: {mistake}")
        elif key in self.values:
            self.mistakes.append(f"{origin}: {shown}: is set twice, first at {self.origins[key]}")
        else:
            self.values[key], self.origins[key], self.shown[key] = value, origin, shown

    def override(self, key: Key, raw: object, origin: str) -> None:
        """Takes a value that wins over the file's."""
        self.values.pop(key, None)
        self.take(key, raw, origin, ".".join(key))

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
                self._take_retired(plain, raw, origin)
            else:
                near = _nearest(key, self.fields)
                self.warnings.append(f"{origin}: {'.'.join(key)}: is unknown and ignored{near}")

    def check(self) -> None:
        """What no single value shows. Paths are absolute: an agent has no directory that they could be meant from."""
        for key in (*((name,) for name in _DIRECTORIES), *_PATHS):
            value = self.values.get(key)
            if isinstance(value, str) and value and (not Path(value).is_absolute() or "\0" in value):
                self.mistakes.append(
                    f"{self.origins[key]}: {self.shown[key]}: {value!r} is not an absolute path"
                )
        if self.values.get(("group",)) and not self.values.get(("user",)):
            self.mistakes.append(f"{self.origins[('group',)]}: group: needs `user` beside it")

    def fill_in(self, environment: Mapping[str, str]) -> None:
        """Adds what the profile and the place of the agent say about settings that nobody gave."""
        profile = Profile(str(self.values.get(("profile",), Profile.DEFAULT)))
        for key, value in PROFILES[profile].items():
            if key not in self.values:
                self.values[key], self.origins[key] = value, f"profile {profile}"
        if self.values.get(("log", "downloads_wire")):
            self.warnings.append(
                f"{self.origins['log', 'downloads_wire']}: log.downloads_wire: traces downloads; the file grows fast"
                " and may hold secrets, so switch it off when you have seen enough"
            )
        places: dict[Key, str] = {(name,): path for name, path in default_directories(environment).items()}
        places["coordinator", "on_premises_file"] = default_on_premises(environment)
        for key, path in places.items():
            if not self.values.get(key):
                self.values[key] = path
                self.origins.pop(key, None)
                if environment.get(HOME_VARIABLE):
                    self.origins[key] = HOME_VARIABLE

    def _take_original(self, name: str, raw: object, origin: str) -> None:
        meaning = MEANINGS[name]
        try:
            for key in meaning.keys:
                self.take(key, meaning.convert(raw), origin, name)
        except ValueError as error:
            self.mistakes.append(f"{origin}: {name}: {error}")
            return
        if remark := meaning.remark(raw):
            self.warnings.append(f"{origin}: {name}: {remark}")

    def _take_retired(self, name: str, raw: object, origin: str) -> None:
        if why := refusal(name, raw, self._region):
            self.mistakes.append(f"{origin}: {name}: {why}")
        else:
            self.warnings.append(f"{origin}: {name}: is ignored, {RETIRED[name]}")


def _take_source(source: bytes, name: str, reading: _Reading) -> None:
    if len(source) > _SIZE_LIMIT:
        reading.mistakes.append(f"{name}: is larger than 1 MiB, so it is no configuration")
        return
    try:
        _demand_shallow(source)
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


def _demand_shallow(source: bytes) -> None:
    """Raises ValueError before the parser builds a tree so deep that the C stack cannot hold it: it would crash."""
    depth = 0
    for event in yaml.parse(source, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_LIMIT:
            raise ValueError(f"it has more than {_DEPTH_LIMIT} levels of nesting")


def _read(path: Path, *, must_exist: bool) -> tuple[bytes | None, os.stat_result | None]:
    try:
        # A pipe in its place must not hold up the agent.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return file.read(_SIZE_LIMIT + 1) or b"", os.fstat(descriptor)
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"cannot read the configuration {path}: there is no such file") from None
        return None, None
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error


def _file_remarks(path: Path, status: os.stat_result, config: Config) -> Iterator[str]:
    """What is wrong with who can read and write the file (V2-343). Without a secret in it, reading harms nobody."""
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (0, os.geteuid()):
        yield f"{path}: belongs to user {status.st_uid}, who decides what this agent does: run `chown root {path}`"
    if mode & (0o002 if status.st_gid in (0, os.getegid()) else 0o022):
        yield f"{path}: can be changed by others (mode {mode:04o}): run `chmod go-w {path}`"
    holds = [".".join(key) for key, _ in leaves() if _is_secret(value_of(config, key))]
    if holds and mode & 0o044:
        yield (
            f"{path}: holds a password ({', '.join(holds)}) and can be read by others (mode {mode:04o}): "
            f"run `chmod 600 {path}`"
        )


def _is_secret(value: object) -> bool:
    return isinstance(value, ProxyAddress) and bool(value.password)


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
    if kind in (Duration, ByteSize, ProxyAddress, Pattern):
        return kind.parse(raw)
    raise ValueError(f"cannot make {kind.__name__} of {raw!r}")


def _out_of_span(field: msgspec.structs.FieldInfo, value: object) -> str:
    limits = span(field)
    if limits and isinstance(value, Duration | ByteSize):
        least, most = (type(value).parse(text) for text in limits)
        if not least <= value <= most:
            return f"{value} is not between {limits[0]} and {limits[1]}"
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
