"""`ferryman-agent forget-revision`: a way past a last successful revision whose scripts are broken (AG-210)."""

from __future__ import annotations

from collections.abc import Iterable

from ferryman_agent import wiring
from ferryman_agent.config import Config
from ferryman_agent.errors import AgentError
from ferryman_agent.history import kept_deployments


def forget_revision(config: Config, group: str) -> str:
    """Clears the pointer of a deployment group, given by id or name; returns what was done. Raises AgentError.

    The next deployment runs no script of the revision that was forgotten; its files stay, and are replaced as usual.
    """
    layout = wiring.layout(config)
    names = {one.group_id: one.group_name for one in kept_deployments(config)}
    group_id = group if group in names else _id_of(group, names)
    try:
        pointer = layout.last_successful(group_id)
        if pointer is None:
            return f"Nothing to forget: deployment group {group} has no last successful revision here."
        layout.forget_last_successful(group_id)
    except OSError as error:
        raise AgentError(
            f"cannot forget the revision of deployment group {group}: {error.strerror} ({error.filename});"
            " run this as root or as the agent's user"
        ) from error
    return f"Forgot deployment {pointer.name} of deployment group {group}: the next one runs none of its scripts."


def _id_of(name: str, names: dict[str, str]) -> str:
    found = [group_id for group_id, known in names.items() if known == name]
    if len(found) == 1:
        return found[0]
    what = (
        f"no deployment group {name!r} has deployments" if not found else f"several groups are named {name!r}"
    )
    raise AgentError(f"{what} on this machine; it has {_listed(names)}")


def _listed(names: dict[str, str]) -> str:
    known: Iterable[str] = (f"{key} ({names[key]})" if names[key] else key for key in sorted(names))
    return ", ".join(known) or "none at all"
