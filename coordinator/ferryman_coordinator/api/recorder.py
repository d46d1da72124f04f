"""What becomes of a call in the audit log: one record each, when it is known how the call ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from ferryman_coordinator.api.answers import Answer
from ferryman_coordinator.api.audit_entries import Entries, masked_text
from ferryman_coordinator.api.auth import AgentIdentity, Context
from ferryman_coordinator.api.rules import Rule
from ferryman_coordinator.core.audit import Call, Failure
from ferryman_coordinator.observe.audit import AuditLog
from ferryman_coordinator.operations.access import Admitted

_DENIALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

_CANCELLED = Failure(
    code="RequestCancelled", message="the caller went away, or the coordinator ended, before the answer"
)


@dataclass(slots=True)
class CallInProgress:
    """What is known of a call so far; a rule of None: it is none of our services."""

    method: str
    rule: Rule | None
    context: Context
    who: Admitted | AgentIdentity | None = None
    request: Any = None
    is_recorded: bool = False


class Recorder:
    """`reads`: whether calls that changed nothing are recorded when they were granted."""

    def __init__(self, log: AuditLog, entries: Entries, *, reads: bool) -> None:
        self._log = log
        self._entries = entries
        self._reads = reads

    async def granted(self, call: CallInProgress, answer: Message | None) -> None:
        """Before the answer is sent; that of a call that changed something waits until the record is stored.

        Raises StoreUnavailable.
        """
        rule = call.rule
        if call.is_recorded or rule is None or not rule.is_recorded:
            return
        call.is_recorded = True
        if not rule.is_read:
            await self._log.keep(
                self._entries.call(rule, call.context, call.who, _request(call), response=answer)
            )
        elif self._reads:
            self._log.note(self._entries.call(rule, call.context, call.who, _request(call)))

    async def refused(self, call: CallInProgress, answer: Answer) -> None:
        """Before the answer is sent, as far as the database can be written; of strangers and reads soon after it."""
        entry = self._failed(call, _failure(answer))
        if entry is None:
            return
        if call.who is None or (call.rule is not None and call.rule.is_read):
            self._log.note(entry)
        else:
            await self._log.settle(entry)

    def cancelled(self, call: CallInProgress) -> None:
        """Nobody waits for an answer any more."""
        entry = self._failed(call, _CANCELLED)
        if entry is not None:
            self._log.note(entry)

    def _failed(self, call: CallInProgress, failure: Failure) -> Call | None:
        """None for what is recorded already, or never."""
        rule = call.rule
        if call.is_recorded or rule is None or not rule.is_recorded:
            return None
        call.is_recorded = True
        return self._entries.call(rule, call.context, call.who, _request(call), failure=failure)


def _request(call: CallInProgress) -> Message | None:
    """A stream of messages is none."""
    return call.request if isinstance(call.request, Message) else None


def _failure(answer: Answer) -> Failure:
    return Failure(code=answer.reason, message=masked_text(answer.message), is_denied=answer.code in _DENIALS)
