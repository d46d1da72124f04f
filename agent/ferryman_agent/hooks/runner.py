"""Runs the scripts of one lifecycle event, one after the other, and says how it ended (AG section 11, V2 section 13).

A script's failure is a value, never an exception: `run_hooks` returns the diagnostics that the coordinator is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ferryman_agent.clock import Clock
from ferryman_agent.core.messages import Diagnostics
from ferryman_agent.hooks import checks, environment, native, usage, verdict
from ferryman_agent.hooks.contract import Background, HookRun, HookSettings, HookWatcher, Script, Stream
from ferryman_agent.hooks.environment import Refusal
from ferryman_agent.hooks.limits import resource_limits
from ferryman_agent.hooks.native import Child, Follower, Pipes
from ferryman_agent.hooks.output import LiveLines, ScriptOutput, ScriptsLog
from ferryman_agent.hooks.supervise import Supervisor, Surroundings
from ferryman_agent.hooks.verdict import Prepared, Verdict

if TYPE_CHECKING:
    from ferryman_agent.hooks.cgroup_maker import GroupMaker

log = structlog.get_logger("ferryman_agent.hooks")


async def run_hooks(
    run: HookRun,
    *,
    settings: HookSettings,
    clock: Clock,
    watcher: HookWatcher,
    cancel: asyncio.Event,
    background: Background | None = None,
    groups: GroupMaker | None = None,
) -> Diagnostics:
    """Run the event's scripts up to the first failure; returns how the event ended, never raises for a failure.

    `cancel` ends the running script with all that belongs to it; the event then has the detail code STOPPED.
    With `background`, a script that is over its limit is reported at that moment (AG-410) and ended in there; without,
    the return waits until it is gone. When the calling task is cancelled, the running script is ended first.
    With `groups`, each script has a control group of its own, so that nothing that it starts outlives its end (AG-408).
    """
    if not run.scripts:
        return Diagnostics()
    started = clock.monotonic()
    scripts_log = ScriptsLog(run, settings, clock)
    around = Surroundings(
        run=run,
        settings=settings,
        clock=clock,
        watcher=watcher,
        cancel=cancel,
        background=background,
        log=scripts_log,
        event_deadline=started + run.event_timeout_seconds,
        groups=groups,
    )
    try:
        index, found = await _run_event(around)
    finally:
        scripts_log.close()
    return verdict.diagnostics(
        found,
        index,
        run.scripts[index].location,
        log=scripts_log.reported(),
        duration_ms=round((clock.monotonic() - started) * 1000),
        host_log_path=run.deployment_dir.scripts_log,
    )


async def _run_event(around: Surroundings) -> tuple[int, Verdict]:
    """Run all scripts; returns the place of the last one and how it ended, with the notes of all."""
    run = around.run
    around.log.announce(f"LifecycleEvent - {run.lifecycle_event}")
    prepared = await asyncio.to_thread(_prepare, run.archive, run.scripts)
    if isinstance(prepared, tuple):
        index, refusal = prepared
        _tell_refusal(run.scripts[index], refusal, around)
        return index, Verdict(failure=refusal)
    notes, taken = [], []
    for index, each in enumerate(prepared.scripts):
        # What the first one was seen to be is not a moment old; the others, an earlier script could have changed.
        ready = prepared.first if index == 0 else None
        found = await _run_script(each, around, ready)
        if found.usage:
            taken.append(found.usage)
        if found.failure:
            return index, replace(found, usage=usage.total(taken))
        if found.note:
            notes.append(found.note)
    return len(prepared.scripts) - 1, Verdict(note="; ".join(notes), usage=usage.total(taken))


@dataclass(frozen=True, slots=True)
class _Scripts:
    """The scripts of an event, and what `_make_ready` says of the first of them."""

    scripts: list[Prepared]
    first: bool | Refusal


def _prepare(archive: Path, scripts: Sequence[Script]) -> _Scripts | tuple[int, Refusal]:
    """See that every script is there and its user known, before the first of them runs (AG-372, AG-397, AG-399)."""
    prepared = []
    for index, script in enumerate(scripts):
        if refusal := checks.presence(archive, script.location):
            return index, refusal
        account = environment.account_for(script)
        if isinstance(account, Refusal):
            return index, account
        path = checks.script_path(archive, script.location)
        prepared.append(Prepared(script=script, path=path, account=account))
    return _Scripts(prepared, _make_ready(prepared[0]))


async def _run_script(each: Prepared, around: Surroundings, ready: bool | Refusal | None) -> Verdict:
    """One script from its last checks to its end, with its lines in both logs (AG-424)."""
    script, event, clock = each.script, around.run.lifecycle_event, around.clock
    started = clock.monotonic()
    if around.cancel.is_set():
        return Verdict(failure=verdict.stopped(each, event, is_running=False))
    if started >= around.event_deadline:
        limit = around.run.event_timeout_seconds
        return Verdict(failure=verdict.event_over(each, event, limit, is_running=False))
    around.log.entry(f"Script - {script.location}")
    if ready is None:
        ready = await asyncio.to_thread(_make_ready, each)
    supervisor = ready if isinstance(ready, Refusal) else _start(each, around, was_changed=ready)
    if isinstance(supervisor, Refusal):
        _tell_refusal(script, supervisor, around)
        return Verdict(failure=supervisor)
    found = await supervisor.watch()
    seconds = clock.monotonic() - started
    around.log.entry(f"Script ended - {script.location}: {found} after {seconds:.3f} s")
    tell = log.warning if found.failure or found.note else log.info
    tell("hook.ended", script=script.location, ended=str(found), duration_ms=round(seconds * 1000))
    return found


def _start(each: Prepared, around: Surroundings, *, was_changed: bool) -> Supervisor | Refusal:
    script, account = each.script, each.account
    if was_changed:
        log.warning("hook.made_executable", script=script.location, path=str(each.path))
        around.log.entry(f"Warning - {script.location} was not executable and has been made so")
    variables = environment.variables(around.run, account, around.settings)
    if isinstance(variables, Refusal):
        return variables
    # The audit line: before anything happens, even if it then fails (V2-250).
    log.info(
        "hook.starting",
        lifecycle_event=around.run.lifecycle_event,
        script=script.location,
        from_user=environment.own_account().name if account.is_switch else account.name,
        to_user=account.name if account.is_switch else "self",
        sudo=script.sudo,
    )
    # Nothing waits in here: nobody can come between a child and who looks after it.
    pipes = Pipes()

    def spawn() -> Child:
        return native.start(
            native.command_of(each.path, around.settings),
            account=account,
            environment=variables,
            directory=environment.directory(around.run, around.settings),
            stdout=pipes.writing[Stream.STDOUT],
            stderr=pipes.writing[Stream.STDERR],
            limits=resource_limits(around.settings, account, around.groups),
        )

    try:
        child = around.groups.start(spawn) if around.groups else spawn()
    except OSError as error:
        pipes.close()
        return checks.why_not_started(each.path, script.location, error)
    pipes.close_writing()
    live = LiveLines(script.location, around.watcher, around.settings, around.clock)
    output = ScriptOutput(around.log, live, cap_bytes=around.settings.output_cap_bytes)
    return Supervisor(each, Follower(child, pipes.reading, output), output, around)


def _make_ready(each: Prepared) -> bool | Refusal:
    """Checks that an earlier script of the event could have changed; True when the script was made executable."""
    try:
        changed = native.make_executable(each.path, each.script.location)
        if isinstance(changed, Refusal):
            return changed
        return native.startable(each.path, each.script.location, each.account) or changed
    except OSError as error:
        return checks.why_not_started(each.path, each.script.location, error)


def _tell_refusal(script: Script, refusal: Refusal, around: Surroundings) -> None:
    log.warning("hook.not_started", script=script.location, reason=refusal.message)
    around.log.entry(f"Error - {refusal.message}")
