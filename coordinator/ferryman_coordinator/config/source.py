"""From a file, the environment and flags to a checked `Config`, or to every mistake in them at once.

Later sources win: defaults, file, environment (`FERRYMAN_COORDINATOR_<SECTION>_<KEY>`), flags.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
import yaml

from ferryman_coordinator.config import alarm_sources, sinks
from ferryman_coordinator.config.schema import Config, Section
from ferryman_coordinator.config.values import Address, ByteSize, Duration
from ferryman_coordinator.errors import SetupError

ENVIRONMENT_PREFIX = "FERRYMAN_COORDINATOR_"
_SIZE_LIMIT = 1 << 20

# Loose on purpose, as the certificate's reader decides: letters, digits and what stands between them, or an address.
_HOST = re.compile(r"[A-Za-z0-9*_][A-Za-z0-9._:-]{0,252}|[0-9A-Fa-f:.]+", re.ASCII)

Key = tuple[str, ...]


def leaves(
    struct: type[Section] = Config, prefix: Key = ()
) -> Iterator[tuple[Key, msgspec.structs.FieldInfo]]:
    """Every setting with its path, such as `("listen", "grpc")`, in the order of the schema."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from leaves(field.type, (*prefix, field.name))
        else:
            yield (*prefix, field.name), field


def environment_name(key: Key) -> str:
    return ENVIRONMENT_PREFIX + "_".join(key).upper()


class _Reading:
    """Collects values and mistakes while the sources are read one after another."""

    def __init__(self) -> None:
        self.fields = dict(leaves())
        self.values: dict[Key, object] = {}
        # Where each value came from, for the mistakes that show only when all are together.
        self.origins: dict[Key, str] = {}
        self.mistakes: list[str] = []

    def take(self, key: Key, raw: object, origin: str, *, is_text: bool) -> None:
        """Converts one raw value; `is_text` says that it comes from where everything is text."""
        field = self.fields[key]
        if (entry := entry_type(field)) is not None:
            self._take_entries(key, entry, raw, origin, is_text=is_text)
            return
        if is_text and isinstance(raw, str) and "tuple" in str(field.type):
            raw = [item.strip() for item in raw.split(",") if item.strip()]
        try:
            value = msgspec.convert(raw, field.type, strict=not is_text, dec_hook=_convert)
        except (msgspec.ValidationError, ValueError) as error:
            self.mistakes.append(f"{origin}: {'.'.join(key)}: {_plain(error)}")
            return
        mistake = _out_of_span(field, value)
        if mistake:
            self.mistakes.append(f"{origin}: {'.'.join(key)}: {mistake}")
        else:
            self.values[key], self.origins[key] = value, origin

    def _take_entries(self, key: Key, entry: Any, raw: object, origin: str, *, is_text: bool) -> None:
        """A mapping of names to structures; from where everything is text, it is YAML."""
        try:
            entries = yaml.safe_load(raw) if is_text and isinstance(raw, str) else raw
        except yaml.YAMLError:
            entries = raw
        if not isinstance(entries, Mapping | None):
            self.mistakes.append(f"{origin}: {'.'.join(key)}: must hold names, with settings below each")
            return
        taken: dict[str, object] = {}
        for name, one in (entries or {}).items():
            try:
                taken[str(name)] = msgspec.convert(one, entry, strict=True, dec_hook=_convert)
            except (msgspec.ValidationError, ValueError) as error:
                where = str(error).partition(" - at `$.")[2].rstrip("`")
                place = ".".join((*key, str(name), *([where] if where else [])))
                self.mistakes.append(f"{origin}: {place}: {_plain(error)}")
        self.values[key], self.origins[key] = taken, origin

    def take_mapping(self, mapping: Mapping[Any, object], prefix: Key, lines: Mapping[Key, str]) -> None:
        """Walks one level of the file."""
        sections = {key[: len(prefix) + 1] for key in self.fields if len(key) > len(prefix) + 1}
        for name, raw in mapping.items():
            key = (*prefix, str(name))
            origin = lines.get(key, "")
            if key in sections:
                if isinstance(raw, Mapping):
                    self.take_mapping(raw, key, lines)
                elif raw is not None:
                    self.mistakes.append(
                        f"{origin}: {'.'.join(key)}: is a section, so settings stand below it"
                    )
            elif key in self.fields:
                self.take(key, raw, origin, is_text=False)
            else:
                self.mistakes.append(
                    f"{origin}: {'.'.join(key)}: unknown setting{_nearest(key, self.fields)}"
                )


def load(path: Path | None, environment: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """Reads and checks all settings.

    `flags` maps dotted names (`listen.grpc`) to what was given on the command line. Raises SetupError that lists every
    mistake, one a line, each with its place.
    """
    reading = _Reading()
    if path is not None:
        _read_file(path, reading)
    for key in reading.fields:
        name = environment_name(key)
        # Other variables with our prefix are no mistakes: container platforms put FERRYMAN_COORDINATOR_PORT and its
        # like there by themselves.
        if environment.get(name):
            reading.take(key, environment[name], f"environment {name}", is_text=True)
    for flag, raw in flags.items():
        key = tuple(flag.split("."))
        reading.take(key, raw, "command line", is_text=True)
    config = _assemble(Config, (), reading.values)
    reading.mistakes += _contradictions(config, reading.origins)
    if reading.mistakes:
        raise SetupError(
            "cannot use the configuration:\n" + "\n".join(f"  {line}" for line in reading.mistakes)
        )
    return with_data_dir(config, environment)


def with_data_dir(config: Config, environment: Mapping[str, str]) -> Config:
    """Fills in the default data directory (DESIGN 2)."""
    if config.data_dir:
        return msgspec.structs.replace(config, data_dir=str(Path(config.data_dir).expanduser().absolute()))
    if os.geteuid() == 0:
        return msgspec.structs.replace(config, data_dir="/var/lib/ferryman")
    home = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return msgspec.structs.replace(config, data_dir=str(Path(home) / "ferryman"))


def _read_file(path: Path, reading: _Reading) -> None:
    try:
        with path.open("rb") as file:
            source = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        reading.mistakes.append(f"{path}: cannot be read: {error.strerror}")
        return
    if len(source) > _SIZE_LIMIT:
        reading.mistakes.append(f"{path}: is larger than 1 MiB, so it is no configuration")
        return
    try:
        loader = yaml.CSafeLoader(source)
        node = loader.get_single_node()
        content = loader.construct_document(node) if node is not None else {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reading.mistakes.append(f"{path}: is no YAML: {' '.join(str(error).split())}")
        return
    if not isinstance(content, Mapping):
        reading.mistakes.append(f"{path}: must hold settings (name: value)")
        return
    lines: dict[Key, str] = {}
    for key, line in _places(node, ()):
        if key in lines:
            reading.mistakes.append(f"{path}:{line}: {'.'.join(key)}: is there twice, first at {lines[key]}")
        lines[key] = f"{path}:{line}"
    reading.take_mapping(content, (), lines)


def _places(node: yaml.Node | None, prefix: Key) -> Iterator[tuple[Key, int]]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            key = (*prefix, str(name.value))
            yield key, name.start_mark.line + 1
            yield from _places(value, key)


def entry_type(field: msgspec.structs.FieldInfo) -> Any:
    """Of a setting that holds named structures, the kind of these; else None."""
    kind = get_args(field.type)[0] if get_origin(field.type) is Annotated else field.type
    return get_args(kind)[1] if get_origin(kind) is dict else None


def _convert(kind: type, raw: object) -> object:
    if kind in (Duration, ByteSize, Address):
        return kind.parse(raw)
    raise ValueError(f"cannot make {kind.__name__} of {raw!r}")


def _out_of_span(field: msgspec.structs.FieldInfo, value: object) -> str:
    for meta in get_args(field.type)[1:] if get_origin(field.type) else ():
        span = getattr(meta, "extra", None) or {}
        if not isinstance(value, Duration) or not span:
            continue
        if not Duration.parse(span["least"]) <= value <= Duration.parse(span["most"]):
            return f"{value} is not between {span['least']} and {span['most']}"
    return ""


def _plain(error: Exception) -> str:
    # msgspec wraps the sentence of a ValueError raised by `_convert`; its own end with a path that says nothing here.
    return str(error).split(" - at `$")[0]


def _nearest(key: Key, known: Mapping[Key, object]) -> str:
    here = {known_key[len(key) - 1] for known_key in known if known_key[: len(key) - 1] == key[:-1]}
    close = difflib.get_close_matches(key[-1], here, n=1)
    if close:
        return f", did you mean {'.'.join((*key[:-1], close[0]))}?"
    elsewhere = [known_key for known_key in known if known_key[-1] == key[-1]]
    if elsewhere:
        return f", did you mean {'.'.join(elsewhere[0])}?"
    return f"; there are {', '.join(sorted(here))}" if here else ""


def _assemble(struct: type[Any], prefix: Key, values: Mapping[Key, object]) -> Any:
    given: dict[str, object] = {}
    for field in msgspec.structs.fields(struct):
        key = (*prefix, field.name)
        if isinstance(field.type, type) and issubclass(field.type, Section):
            given[field.name] = _assemble(field.type, key, values)
        elif key in values:
            given[field.name] = values[key]
    return struct(**given)


def _contradictions(config: Config, origins: Mapping[Key, str]) -> Iterator[str]:
    """Mistakes that no single setting shows."""
    taken: dict[Address, str] = {}
    for name, address in (
        ("grpc", config.listen.grpc),
        ("agents", config.listen.for_agents),
        ("http", config.listen.http),
    ):
        if address.port and address in taken:
            where = origins.get(("listen", name), "default")
            yield f"{where}: listen.{name}: {address} is taken by listen.{taken[address]} already"
        taken[address] = name
    url = config.public.http_url
    if url and not url.startswith(("http://", "https://")):
        where = origins[("public", "http_url")]
        yield f"{where}: public.http_url: {url!r} does not begin with http:// or https://"
    for name in config.public.names:
        if not _HOST.fullmatch(name):
            where = origins[("public", "names")]
            yield f"{where}: public.names: {name!r} is neither a host name nor an IP address"
    yield from _wrong_addresses(config, origins)
    for place, wrong in sinks.mistakes(config.sinks):
        yield f"{origins[('sinks',)]}: sinks.{place}: {wrong}"
    for place, wrong in alarm_sources.mistakes(config.alarms.sources):
        yield f"{origins[('alarms', 'sources')]}: alarms.sources.{place}: {wrong}"
    if config.database.password_file and not config.database.url:
        where = origins[("database", "password_file")]
        yield f"{where}: database.password_file: needs database.url, since SQLite has no password"


def _wrong_addresses(config: Config, origins: Mapping[Key, str]) -> Iterator[str]:
    """Of stores and hosts that are given keys: nothing of them in clear text over a network."""
    for key, url in (
        (("s3", "endpoint_url"), config.s3.endpoint_url),
        (("github", "api_url"), config.github.api_url),
    ):
        if not url and key != ("github", "api_url"):
            continue
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as problem:
            yield f"{origins[key]}: {'.'.join(key)}: {url!r} cannot be read: {problem}"
            continue
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            yield f"{origins[key]}: {'.'.join(key)}: {url!r} is no address: write https://HOST"
        elif parts.username is not None or parts.password is not None:
            yield f"{origins[key]}: {'.'.join(key)}: holds a user or password, which do not belong there"
        elif key == ("github", "api_url") and parts.scheme == "http" and not _is_loopback(host):
            yield f"{origins[key]}: {'.'.join(key)}: {url!r} would carry tokens in clear text: use https"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
