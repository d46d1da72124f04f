"""Writes the configuration reference and the sample file from the schema; a test sees that they are up to date.

`python -m ferryman_agent.config.reference docs/operating` writes both.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ferryman_agent.config.original import MEANINGS, RETIRED, Key
from ferryman_agent.config.profiles import PROFILES
from ferryman_agent.config.schema import Config, Profile, Section
from ferryman_agent.config.walk import is_reloadable, leaves, metas, span, value_of

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
with its default. `ferryman-agent config --show` prints what counts on a machine, and where each value came from.
Settings marked *reload* take effect with `ferryman-agent reload`, the others with a restart.

| directory | as root | as another user |
|---|---|---|
| `root_dir` | `/opt/codedeploy-agent/deployment-root` | `~/.local/share/ferryman-agent/deployment-root` |
| `log_dir` | `/var/log/aws/codedeploy-agent` | `~/.local/state/ferryman-agent/log` |
| `pid_dir` | `/opt/codedeploy-agent/state/.pid` | `$XDG_RUNTIME_DIR/ferryman-agent` |
| `state_dir` | `/var/lib/ferryman-agent` | `~/.local/state/ferryman-agent` |

With `FERRYMAN_AGENT_HOME=D` they are `D/deployment-root`, `D/log`, `D/pid` and `D/state`.
"""

_PROFILES_HEAD = """
## Profiles

`profile: NAME` in the file, or `--profile NAME`, changes the defaults of these settings; each can still be given by
itself. Nothing lets a bundle or an AppSpec file reach outside of where it belongs, in any profile.

| setting | default | `compat` | `strict` |
|---|---|---|---|
"""

_ORIGINAL_HEAD = """
## Keys of the original

The flat keys of `codedeployagent.yml` are accepted, with and without leading colons, besides `root_dir`, `log_dir`,
`pid_dir`, `program_name`, `user` and `group`, which are the same here.

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
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
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
        reload = " *reload*" if is_reloadable(field) else ""
        parts.append(f"| `{'.'.join(key)}` | {default} | {_description(field)}{_limits(field)}{reload} |\n")
    parts += _profiles()
    parts.append(_ORIGINAL_HEAD)
    for name, meaning in MEANINGS.items():
        settings = ", ".join(f"`{'.'.join(key)}`" for key in meaning.keys)
        parts.append(f"| `{name}` | {settings} |\n")
    parts += [f"| `{name}` | ignored with a warning: {why} |\n" for name, why in RETIRED.items()]
    return "".join(parts)


def _profiles() -> Iterator[str]:
    yield _PROFILES_HEAD
    touched = {key for profile in PROFILES.values() for key in profile}
    for key, _ in leaves():
        if key in touched:
            values = [PROFILES[profile].get(key, value_of(Config(), key)) for profile in Profile]
            yield f"| `{'.'.join(key)}` | {' | '.join(f'`{show(value)}`' for value in values)} |\n"


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


def _description(field: msgspec.structs.FieldInfo) -> str:
    return " ".join(meta.description for meta in metas(field) if meta.description)


def _limits(field: msgspec.structs.FieldInfo) -> str:
    if limits := span(field):
        return f" From {limits[0]} to {limits[1]}."
    for meta in metas(field):
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
