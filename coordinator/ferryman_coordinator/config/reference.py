"""Writes the configuration reference and the sample file from the schema; a test sees that they are up to date.

`python -m ferryman_coordinator.config.reference docs/operating` writes both.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml

from ferryman_coordinator.config.schema import Config, Section
from ferryman_coordinator.config.source import Key, entry_type, environment_name, leaves

REFERENCE = "configuration-coordinator.md"
SAMPLE = "coordinator.sample.yml"

_HEAD = f"""\
<!-- Generated from ferryman_coordinator/config/schema.py; do not edit. -->
<!-- To update: python -m ferryman_coordinator.config.reference docs/operating -->

# Configuration of the coordinator

`ferryman-coordinator serve --config FILE` reads YAML. Every setting can also come from the environment variable named
with it, which wins over the file; a command-line option wins over both. Lists in environment variables are separated by
commas. Durations carry their unit (`500ms`, `30s`, `5m`, `12h`, `7d`, `1h30m`), sizes may (`512MiB`).

`ferryman-coordinator check-config --config FILE` lists every mistake at once, or shows the settings in effect.
[{SAMPLE}]({SAMPLE}) holds every setting with its default.
"""


def show(value: object) -> str:
    """A value as it is written in the file."""
    if value is None:
        return "null"
    if value == "":
        return "''"
    if isinstance(value, tuple):
        return yaml.safe_dump(list(value), default_flow_style=True).strip()
    if isinstance(value, dict):
        plain = msgspec.to_builtins(value, enc_hook=str)
        return yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False).strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # Digits alone would be read as a number.
    return f"'{text}'" if isinstance(value, str) and yaml.safe_load(text) != text else text


def effective(config: Config) -> str:
    """All settings as YAML, for `check-config`."""
    return "".join(_yaml(config, Config, "", comments=False)).strip() + "\n"


def sample() -> str:
    """Every setting with its default and its meaning, commented out."""
    head = "# Every setting of ferryman-coordinator with its default; generated, so copy it before you change it.\n"
    return head + "".join(_yaml(Config(), Config, "", comments=True))


def reference() -> str:
    """The operators' reference, as Markdown."""
    parts, section = [_HEAD], None
    for key, field in leaves():
        heading = key[:-1]
        if heading != section:
            section = heading
            parts.append(_section_head(heading))
        parts.append(
            f"| `{'.'.join(key)}` | `{show(_default(field))}` | {_description(field)}{_limits(field)}<br>"
            f"`{environment_name(key)}` |\n"
        )
    parts += [_entry(key, entry_type(field)) for key, field in leaves() if entry_type(field) is not None]
    return "".join(parts)


def _entry(key: Key, struct: type[Any]) -> str:
    """Of one setting that holds named structures: what each of these can say."""
    head = (
        f"\n## {'.'.join(key)}.NAME\n\n{struct.__doc__}\n\n| setting | default | meaning |\n|---|---|---|\n"
    )
    rows = []
    for field in msgspec.structs.fields(struct):
        default = "required" if field.required else f"`{show(field.default)}`"
        rows.append(f"| `{field.name}` | {default} | {_description(field)}{_limits(field)} |\n")
    return head + "".join(rows)


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def _section_head(heading: Key) -> str:
    struct: type[Section] = Config
    for name in heading:
        struct = next(field.type for field in msgspec.structs.fields(struct) if field.name == name)
    title = ".".join(heading) or "general"
    return f"\n## {title}\n\n{struct.__doc__}\n\n| setting | default | meaning |\n|---|---|---|\n"


def _yaml(value: Any, struct: type[Section], indent: str, *, comments: bool) -> Iterator[str]:
    mark = "#" if comments else ""
    for field in msgspec.structs.fields(struct):
        inner = getattr(value, field.name)
        if isinstance(field.type, type) and issubclass(field.type, Section):
            doc = f"\n{indent}# {field.type.__doc__}" if comments else ""
            yield f"{doc}\n{indent}{mark}{field.name}:\n"
            yield from _yaml(inner, field.type, indent + "  ", comments=comments)
            continue
        if comments:
            text = _description(field) + _limits(field)
            yield (
                "\n"
                + textwrap.fill(text, 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
                + "\n"
            )
        yield f"{indent}{mark}{field.name}: {show(inner)}\n"


def _metas(field: msgspec.structs.FieldInfo) -> tuple[msgspec.Meta, ...]:
    return tuple(meta for meta in get_args(field.type)[1:] if isinstance(meta, msgspec.Meta))


def _description(field: msgspec.structs.FieldInfo) -> str:
    return " ".join(meta.description for meta in _metas(field) if meta.description)


def _limits(field: msgspec.structs.FieldInfo) -> str:
    for meta in _metas(field):
        if meta.extra:
            return f" From {meta.extra['least']} to {meta.extra['most']}."
        if meta.ge is not None:
            return f" {meta.ge:g} to {meta.le:g}." if meta.le is not None else f" At least {meta.ge:g}."
    return ""


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REFERENCE).write_text(reference(), encoding="utf-8")
    (folder / SAMPLE).write_text(sample(), encoding="utf-8")


if __name__ == "__main__":
    main()
