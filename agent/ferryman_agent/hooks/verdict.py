"""How a script ended, in the words that the deployment's owner reads. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ferryman_agent.core.messages import Diagnostics, ResourceUsage, ScriptErrorCode
from ferryman_agent.hooks import checks
from ferryman_agent.hooks.contract import Script, Stream
from ferryman_agent.hooks.environment import Account, Refusal
from ferryman_agent.hooks.native import ExitStatus

LONGEST_MESSAGE = 2047
STOPPED = "STOPPED"
REDIRECT_IDIOM = "command </dev/null >/dev/null 2>&1 &"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A script of the event that is there, and whom it runs as."""

    script: Script
    path: Path
    account: Account

    @property
    def title(self) -> str:
        """The script as messages name it; with its user where one is asked for (AG-401)."""
        runas = (self.script.runas or "").strip()
        return f"script {self.script.location}" + (f" (run as user {runas})" if runas else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a script ended. `failure` is None for success; `note` is what to know about it in either case."""

    failure: Refusal | None = None
    status: ExitStatus | None = None
    note: str = ""
    usage: ResourceUsage | None = None

    def __str__(self) -> str:
        return str(self.status) if self.status else self.failure.message if self.failure else "succeeded"


def exited(each: Prepared, status: ExitStatus) -> Refusal | None:
    """What an exit means: None for status 0 (AG-369), code 4 for every other (AG-420, AG-421)."""
    if status.is_success:
        return None
    if status.signal is None:
        message = f"{each.title} ended with {status}{checks.hint(status.code)}"
        return _failed(ScriptErrorCode.SCRIPT_FAILED, "SCRIPT_EXIT_STATUS", message)
    return _failed(ScriptErrorCode.SCRIPT_FAILED, "SCRIPT_SIGNALLED", f"{each.title} was killed by {status}")


def with_memory(each: Prepared, found: Verdict, usage: ResourceUsage, limit: int | None) -> Verdict:
    """The same verdict with what was measured, and with the reason where the system ended processes for memory.

    `limit` is that of the settings, bytes.
    """
    found = replace(found, usage=usage)
    if not usage.out_of_memory_kills:
        return found
    bound = f"the {limit / 2**20:g} MiB that hooks.memory_max allows" if limit else "the machine had left"
    why = f"the system ended {usage.out_of_memory_kills} of its processes, which needed more memory than {bound}"
    if found.failure is None:
        return replace(found, note="; ".join(filter(None, (found.note, f"{each.title}: {why}"))))
    failure = replace(
        found.failure, detail_code="SCRIPT_OUT_OF_MEMORY", message=f"{found.failure.message}: {why}"
    )
    return replace(found, failure=failure)


def timed_out(each: Prepared, seconds: float) -> Refusal:
    """The script's own limit passed (AG-407)."""
    message = f"{each.title} did not end within its limit of {seconds:g} seconds"
    return _failed(ScriptErrorCode.SCRIPT_TIMED_OUT, "SCRIPT_TIMED_OUT", message)


def event_over(each: Prepared, event: str, seconds: float, *, is_running: bool) -> Refusal:
    """The limit of the whole event passed (AG-405, AG-409)."""
    when = "while it ran" if is_running else "before it could start"
    message = (
        f"{event} did not end within its limit of {seconds:g} seconds, which passed for {each.title} {when}"
    )
    return _failed(ScriptErrorCode.SCRIPT_TIMED_OUT, "EVENT_TIMED_OUT", message)


def stopped(each: Prepared, event: str, *, is_running: bool) -> Refusal:
    """Somebody asked for it (AG-128): not a failure of the script."""
    when = "while it ran" if is_running else "before it started"
    message = f"{event} was stopped on request: {each.title} was ended {when}"
    return _failed(ScriptErrorCode.UNKNOWN_ERROR, STOPPED, message)


def left_open(each: Prepared, streams: Collection[Stream], holders: Sequence[int]) -> str:
    """What there is to say about a script that ended well while somebody holds its output open (AG-416)."""
    names = " and ".join(stream.upper() for stream in streams)
    who = f"process {', '.join(map(str, holders))}" if holders else "a process that cannot be seen"
    return (
        f"{each.title} ended, and {who} still holds its {names} open;"
        f" start background processes with their output elsewhere: {REDIRECT_IDIOM}"
    )


def outputs_failed(note: str) -> Refusal:
    """The same, where the settings say that it fails the event (AG-415, V2-241)."""
    return _failed(ScriptErrorCode.OUTPUTS_LEFT_OPEN, "OUTPUTS_LEFT_OPEN", note)


def diagnostics(
    verdict: Verdict, index: int, script_name: str, *, log: str, duration_ms: int, host_log_path: Path
) -> Diagnostics:
    """What the coordinator is told of an event whose last script ended so."""
    failure, status = verdict.failure, verdict.status
    if failure is None:
        message = f"Succeeded. Note: {verdict.note}" if verdict.note else "Succeeded"
    elif failure.detail_code == STOPPED:
        message = failure.message
    else:
        message = f"The deployment failed because {failure.message}"
    return Diagnostics(
        error_code=failure.error_code if failure else ScriptErrorCode.SUCCESS,
        script_name=_plain(script_name if failure else ""),
        message=_plain(message)[:LONGEST_MESSAGE],
        log=log,
        detail_code=failure.detail_code if failure else "",
        exit_status=status.code if status else None,
        signal=status.signal if status else None,
        duration_ms=duration_ms,
        host_log_path=_plain(str(host_log_path)),
        usage=verdict.usage,
        script_index=index if failure else None,
    )


def _plain(text: str) -> str:
    """File names need not be text; what is reported must be, so that it can always be sent (AG-454)."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _failed(error_code: ScriptErrorCode, detail_code: str, message: str) -> Refusal:
    return Refusal(error_code=error_code, detail_code=detail_code, message=message)
