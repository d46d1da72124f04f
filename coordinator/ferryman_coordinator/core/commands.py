"""The commands of one deployment: which one a target has, and which one a report is about."""

from __future__ import annotations

from ferryman_coordinator.core.invariant import InvariantBroken
from ferryman_coordinator.core.lifecycle import Route, ignorable_failures
from ferryman_coordinator.core.messages import CancelSegment, Command, RunSegment
from ferryman_coordinator.core.model import CommandId, CommandPhase, RolloutSpec
from ferryman_coordinator.core.target import Target

_MOST_DIGITS = 9
"""Of an attempt or a step. An agent could send thousands, which Python refuses to read as a number."""


class Commands:
    """Everything is derived from where a target stands; nothing is kept beside it (D2)."""

    def __init__(self, spec: RolloutSpec, route: Route) -> None:
        self._route = route
        self._ignorable = frozenset(ignorable_failures(spec))
        self._prefix = f"{spec.deployment_id}/"

    def id_of(self, target: Target) -> CommandId:
        """Always the same for the same work, so that a repetition is recognised."""
        return CommandId(f"{self._prefix}{target.instance_id}/{target.attempt}/{target.step}")

    def run(self, target: Target) -> RunSegment:
        """The segment that the target has come to."""
        events = self._route.steps[target.step]
        return RunSegment(
            instance_id=target.instance_id,
            command_id=self.id_of(target),
            events=events,
            ignorable_failures=tuple([name for name in events if name in self._ignorable]),
        )

    def cancel(self, target: Target) -> CancelSegment:
        """The end of what `run` began."""
        reason = (
            "the deployment has ended" if target.is_running else "the coordinator has given this instance up"
        )
        return CancelSegment(instance_id=target.instance_id, command_id=self.id_of(target), reason=reason)

    def outstanding(self, target: Target) -> tuple[Command, ...]:
        """What its agent must be told now, again or for the first time.

        Of a cancelled command only the cancellation: the agent may never have got the command itself, and must not
        begin it then.
        """
        if target.phase is CommandPhase.NONE:
            return ()
        return (self.cancel(target) if target.is_cancelled else self.run(target),)

    def is_current(self, target: Target, command_id: CommandId) -> bool:
        """Whether a report is about the target's open command; False for a former, foreign or unreadable one.

        Raises InvariantBroken for a command that the target has not been given yet.
        """
        if target.is_running and command_id == self.id_of(target):
            return True
        if target.status.is_terminal or not command_id.startswith(f"{self._prefix}{target.instance_id}/"):
            return False
        attempt, step = command_id.rsplit("/", 2)[1:]
        if not (_is_number(attempt) and _is_number(step)):
            return False
        if (int(attempt), int(step)) < (target.attempt, target.step):
            return False
        raise InvariantBroken(f"{target.label} reports command {command_id}, which it was never given")


def _is_number(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdecimal()
