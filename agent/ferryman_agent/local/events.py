"""Which lifecycle events a local deployment runs, and in which order (AG-477 … AG-486). Pure."""

from __future__ import annotations

from typing import NamedTuple

from ferryman_agent.core.lifecycle import LIFECYCLE_EVENTS, Work, work_of

DOWNLOAD, INSTALL = "DownloadBundle", "Install"
BEFORE_DOWNLOAD = ("BeforeBlockTraffic", "BlockTraffic", "AfterBlockTraffic", "ApplicationStop")
BEFORE_INSTALL = (*BEFORE_DOWNLOAD, DOWNLOAD, "BeforeInstall")


class Events(NamedTuple):
    """The events to run, in order; meaningless where there are `mistakes`."""

    names: tuple[str, ...]
    mistakes: tuple[str, ...] = ()


def plan_events(wanted: str | None, *, no_install: bool, simulate_traffic: bool) -> Events:
    """Returns the events for what `--events` says; None is the built-in order."""
    if no_install:
        return _of_installed(wanted, simulate_traffic=simulate_traffic)
    if wanted is None:
        everything = tuple(LIFECYCLE_EVENTS)
        return Events(everything if simulate_traffic else tuple(filter(_is_run_locally, everything)))
    names, mistakes = _listed(wanted, simulate_traffic=simulate_traffic)
    mistakes += _out_of_order(names, simulate_traffic=simulate_traffic)
    return Events(_completed(names), tuple(mistakes))


def custom_events(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns those that no table of ours knows."""
    return tuple(name for name in names if name not in LIFECYCLE_EVENTS)


def _of_installed(wanted: str | None, *, simulate_traffic: bool) -> Events:
    if wanted is None:
        return Events((), ("--no-install needs --events: which events of the installed revision shall run?",))
    names, mistakes = _listed(wanted, simulate_traffic=simulate_traffic)
    mistakes += [
        f"--events: {name} and --no-install contradict each other"
        for name in names
        if name in (DOWNLOAD, INSTALL)
    ]
    return Events(tuple(names), tuple(mistakes))


def _listed(wanted: str, *, simulate_traffic: bool) -> tuple[list[str], list[str]]:
    """Returns the names with the blanks around them gone (AG-486), and what is wrong with single ones."""
    names = [name.strip() for name in wanted.split(",")]
    mistakes = []
    if "" in names:
        mistakes.append(f"--events: {wanted!r} has an empty name; write names separated by single commas")
    for name in dict.fromkeys(names):
        if not name.isprintable():
            mistakes.append(f"--events: {name!r} has characters in it that no event name can have")
        if name and names.count(name) > 1:
            mistakes.append(f"--events: {name} is listed {names.count(name)} times; an event runs once")
        if not simulate_traffic and not _is_run_locally(name):
            mistakes.append(
                f"--events: {name} is the load balancer's and is not run locally; --simulate-traffic rehearses it"
            )
    return [name for name in names if name], mistakes


def _out_of_order(names: list[str], *, simulate_traffic: bool) -> list[str]:
    mistakes = []
    for name, allowed in ((DOWNLOAD, BEFORE_DOWNLOAD), (INSTALL, BEFORE_INSTALL)):
        before = names[: names.index(name)] if name in names else []
        wrong = [each for each in before if each not in allowed]
        if wrong:
            shown = [each for each in allowed if simulate_traffic or _is_run_locally(each)]
            mistakes.append(
                f"--events: {', '.join(wrong)} before {name}: only {', '.join(shown)} may stand there"
            )
    return mistakes


def _completed(names: list[str]) -> tuple[str, ...]:
    """Puts what is missing of DownloadBundle and Install where it belongs (AG-479)."""
    if DOWNLOAD in names and INSTALL not in names:
        # Behind it, not in front: what stands before DownloadBundle is meant to run before it (AG-481).
        at = names.index(DOWNLOAD) + 1
        return (*names[:at], INSTALL, *names[at:])
    missing = [name for name in (DOWNLOAD, INSTALL) if name not in names]
    return (*missing, *names)


def _is_run_locally(name: str) -> bool:
    return work_of(name) is not Work.NOT_OURS
