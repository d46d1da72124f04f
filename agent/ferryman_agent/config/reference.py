"""Writes the configuration reference and the sample file from the schema; a test sees that they are up to date.

`python -m ferryman_agent.config.reference docs/operating` writes both.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from ferryman_agent.config.original import MEANINGS, RETIRED, Key
from ferryman_agent.config.schema import Config, Section
from ferryman_agent.config.source import leaves

REFERENCE = "configuration-agent.md"
SAMPLE = "agent.sample.yml"

_HEAD = f"""\
<!-- Generated from ferryman_agent/config/schema.py; do not edit. -->
<!-- To update: python -m ferryman_agent.config.reference docs/operating -->

# Configuration of the agent

`ferryman-agent run --config FILE` reads YAML; without `--config` it looks for
`$FERRYMAN_AGENT_HOME/ferrymanagent.yml`, as root for `/etc/ferryman-agent/conf/ferrymanagent.yml`,
`/opt/ferryman-agent/conf/ferrymanagent.yml` and the original's `/etc/codedeploy-agent/conf/codedeployagent.yml`, and as
another user for `$XDG_CONFIG_HOME/ferryman-agent/ferrymanagent.yml`. No file is needed. Durations carry their unit
(`500ms`, `30s`, `5m`, `12h`, `7d`, `1h30m`), sizes may (`512MiB`). Mistakes keep the agent from starting and are all
named at once; unknown keys are warnings, which `ferryman-agent status` shows. [{SAMPLE}]({SAMPLE}) holds every setting
with its default.

| directory | as root | as another user |
|---|---|---|
| `root_dir` | `/opt/codedeploy-agent/deployment-root` | `~/.local/share/ferryman-agent/deployment-root` |
| `log_dir` | `/var/log/aws/codedeploy-agent` | `~/.local/state/ferryman-agent/log` |
| `pid_dir` | `/opt/codedeploy-agent/state/.pid` | `$XDG_RUNTIME_DIR/ferryman-agent` |
| `state_dir` | `/var/lib/ferryman-agent` | `~/.local/state/ferryman-agent` |

With `FERRYMAN_AGENT_HOME=D` they are `D/deployment-root`, `D/log`, `D/pid` and `D/state`.
"""

_ORIGINAL_HEAD = """
## Keys of the original

The flat keys of `codedeployagent.yml` are accepted, with and without leading colons, besides `root_dir`, `log_dir`,
`pid_dir` and `program_name`, which are the same here.

| key | setting |
|---|---|
"""


def show(value: object) -> str:
    """A value as it is written in the file."""
    if value is None:
        return "null"
    if value == "":
        return "''"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def sample() -> str:
    """Every setting with its default and its meaning, commented out."""
    head = "# Every setting of ferryman-agent with its default; generated, so copy it before you change it.\n"
    return head + "".join(_yaml(Config(), Config, ""))


def reference() -> str:
    """The operators' reference, as Markdown."""
    parts: list[str] = [_HEAD]
    section: Key | None = None
    for key, field in leaves():
        heading = key[:-1]
        if heading != section:
            section = heading
            parts.append(_section_head(heading))
        default = "see above" if not heading and key[0].endswith("_dir") else f"`{show(field.default)}`"
        parts.append(f"| `{'.'.join(key)}` | {default} | {_description(field)}{_limits(field)} |\n")
    parts.append(_ORIGINAL_HEAD)
    parts += [f"| `{name}` | `{'.'.join(meaning.key)}` |\n" for name, meaning in MEANINGS.items()]
    parts += [f"| `{name}` | ignored with a warning: {why} |\n" for name, why in RETIRED.items()]
    return "".join(parts)


def _section_head(heading: Key) -> str:
    struct: type[Section] = Config
    for name in heading:
        struct = next(field.type for field in msgspec.structs.fields(struct) if field.name == name)
    title = ".".join(heading) or "general"
    return f"\n## {title}\n\n{struct.__doc__}\n\n| setting | default | meaning |\n|---|---|---|\n"


def _yaml(value: Any, struct: type[Section], indent: str) -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        inner = getattr(value, field.name)
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield f"\n{indent}# {field.type.__doc__}\n{indent}#{field.name}:\n"
            yield from _yaml(inner, field.type, indent + "  ")
            continue
        text = _description(field) + _limits(field)
        lines = textwrap.fill(text, 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        yield f"\n{lines}\n{indent}#{field.name}: {show(inner)}\n"


def _metas(field: msgspec.structs.FieldInfo) -> tuple[msgspec.Meta, ...]:
    return tuple(meta for meta in get_args(field.type)[1:] if isinstance(meta, msgspec.Meta))


def _description(field: msgspec.structs.FieldInfo) -> str:
    return " ".join(meta.description for meta in _metas(field) if meta.description)


def _limits(field: msgspec.structs.FieldInfo) -> str:
    for meta in _metas(field):
        if meta.extra:
            return f" From {meta.extra['least']} to {meta.extra['most']}."
        if meta.ge is not None and meta.le is not None:
            return f" {meta.ge:g} to {meta.le:g}."
    return ""


def main() -> None:
    """Writes both files into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REFERENCE).write_text(reference(), encoding="utf-8")
    (folder / SAMPLE).write_text(sample(), encoding="utf-8")


if __name__ == "__main__":
    main()
