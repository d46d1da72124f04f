"""Takes the values of a file in, one by one, and keeps every mistake with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ferryman_agent.config.original import MEANINGS, RETIRED, Key, refusal
from ferryman_agent.config.places import HOME_VARIABLE, default_directories, default_on_premises
from ferryman_agent.config.profiles import PROFILES
from ferryman_agent.config.schema import Profile, Section
from ferryman_agent.config.values import ByteSize, Duration, Pattern, ProxyAddress
from ferryman_agent.config.walk import leaves, span

SIZE_LIMIT = 1 << 20
_LONGEST_SHOWN = 80
_DEPTH_LIMIT = 50
_ALIAS_LIMIT = 20
_DIRECTORIES = ("root_dir", "log_dir", "pid_dir", "state_dir")
_PATHS = (("install", "root"), ("metrics_file",), ("coordinator", "on_premises_file"))


class Reading:
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

    def take_source(self, source: bytes, name: str) -> None:
        """Reads the text of a file; `name` is for the places of mistakes."""
        if len(source) > SIZE_LIMIT:
            self.mistakes.append(f"{name}: is larger than 1 MiB, so it is no configuration")
            return
        try:
            _demand_shallow(source)
            loader = yaml.CSafeLoader(source)
            node = loader.get_single_node()
            content = loader.construct_document(node) if node is not None else {}
        except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
            self.mistakes.append(f"{name}: is no YAML: {' '.join(str(error).split())}")
            return
        if content is None:
            return
        if not isinstance(content, Mapping):
            self.mistakes.append(f"{name}: must hold settings (name: value)")
            return
        lines: dict[Key, str] = {}
        for key, line in _places(node, (), depth=0):
            if key in lines:
                self.mistakes.append(f"{name}:{line}: {_shown(key)}: is there twice, first at {lines[key]}")
            lines[key] = f"{name}:{line}"
        self.take_mapping(content, (), lines)

    def take(self, key: Key, raw: object, origin: str, shown: str) -> None:
        """Converts one raw value; `shown` is its name in the file."""
        field = self.fields[key]
        try:
            value = msgspec.convert(raw, field.type, strict=True, dec_hook=_convert)
        except (msgspec.ValidationError, ValueError, OverflowError) as error:
            mistake = f"{origin}: {shown}: {str(error).split(' - at `$')[0]}{_given(error, raw)}"
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
                self.warnings.append(f"{origin}: {_shown(key)}: is unknown and ignored{near}")

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


def _demand_shallow(source: bytes) -> None:
    """Raises ValueError before the parser builds a tree so deep that the C stack cannot hold it: it would crash.

    And before aliases of aliases make one so wide that to merge or to print it takes for ever.
    """
    depth = aliases = 0
    for event in yaml.parse(source, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_LIMIT:
            raise ValueError(f"it has more than {_DEPTH_LIMIT} levels of nesting")
        aliases += isinstance(event, yaml.AliasEvent)
        if aliases > _ALIAS_LIMIT:
            raise ValueError(f"it has more than {_ALIAS_LIMIT} aliases")


def _given(error: Exception, raw: object) -> str:
    """The value, where the library's words do not have it. Only in the place of a number, where no secret stands."""
    is_number_wanted = str(error).startswith(("Expected `int", "Expected `float"))
    return f", not {raw!r}"[:80] if is_number_wanted and isinstance(raw, int | float | str) else ""


def _shown(key: Key) -> str:
    """A key that stands in a file, as messages have it: nothing in it can colour a terminal, or make up a line."""
    text = ".".join(key)
    text = text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
    return text if text.isprintable() else repr(text)


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
    import difflib  # only for mistakes: 0.15 MiB

    close = difflib.get_close_matches(key[-1], candidates, n=1)
    if close:
        return f", did you mean {_shown((*key[:-1], close[0]))}?"
    elsewhere = [each for each in known if each[-1] == key[-1]]
    return f", did you mean {'.'.join(elsewhere[0])}?" if elsewhere else ""


def assemble(struct: type[Any], prefix: Key, values: Mapping[Key, object]) -> Any:
    given: dict[str, object] = {}
    for field in msgspec.structs.fields(struct):
        key = (*prefix, field.name)
        if isinstance(field.type, type) and issubclass(field.type, Section):
            given[field.name] = assemble(field.type, key, values)
        elif key in values:
            given[field.name] = values[key]
    return struct(**given)
