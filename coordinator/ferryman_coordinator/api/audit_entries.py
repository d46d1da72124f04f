"""From a call of gRPC to its audit record: who made it, and its messages as plain values without their secrets.

A field that is marked `debug_redact` in its .proto is never written down (CP-447). What merely looks like a secret in
a text that may hold anything is taken out as it is in log lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ferryman_coordinator.api.auth import AgentIdentity, Context, source_of
from ferryman_coordinator.api.rules import Rule
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.core import resources
from ferryman_coordinator.core.audit import NOBODY, Actor, ActorKind, Call, Failure
from ferryman_coordinator.core.users import Caller, CredentialKind
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.log import without_secrets
from ferryman_coordinator.operations.access import Admitted

MASKED = "***"

_TEXT = 1_024
_ITEMS = 100
_SUSPICIOUS = re.compile(r"ferryman-|gh[opsru]_|github_pat_|[Bb]earer |PRIVATE KEY|://")
_QUERY = re.compile(r"(\w+://[^\s?#]*)[?#]\S*")


class Entries:
    """Makes records; draws their ids."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids

    def call(
        self,
        rule: Rule,
        context: Context,
        who: Admitted | AgentIdentity | None,
        request: Message | None,
        *,
        response: Message | None = None,
        failure: Failure | None = None,
    ) -> Call:
        is_told = response is not None and not rule.is_read and failure is None
        return Call(
            at=self._clock.now(),
            event_id=self._ids.guid(),
            request_id=self._ids.guid(),
            event=rule.event,
            actor=actor_of(who),
            source=source_of(context),
            user_agent=_user_agent(context),
            parameters=None if request is None else plain(request),
            response=plain(response) if response is not None and is_told else None,
            is_read=rule.is_read,
            failure=failure,
        )


def actor_of(who: Admitted | AgentIdentity | None) -> Actor:
    match who:
        case Admitted(caller=caller):
            return caller_actor(caller)
        case AgentIdentity(instance_id=instance_id):
            return Actor(
                kind=ActorKind.AGENT,
                principal_id=instance_id,
                name=instance_id,
                resource=resources.INSTANCE + instance_id,
            )
        case None:
            return NOBODY


def caller_actor(caller: Caller) -> Actor:
    """For doors of every kind."""
    is_session = caller.credential_kind is CredentialKind.SESSION or bool(caller.issuer_id)
    return Actor(
        kind=ActorKind.SESSION if is_session else ActorKind.USER,
        principal_id=caller.user_id,
        name=caller.name,
        resource=resources.USER + caller.name,
        credential_id=caller.credential_id,
        since=caller.credential_since,
        issuer_id=caller.issuer_id,
    )


def _user_agent(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "user-agent":
            return masked_text(value if isinstance(value, str) else value.decode("utf-8", "replace"))
    return ""


# Messages as plain values ---------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    name: str
    make: Callable[[Any], Any]


_fields: dict[str, _Field] = {}
"""By the full name of a field: looked at once."""


def plain(message: Message) -> dict[str, Any]:
    """What is set in a message, under the names of JSON, without secrets and not endlessly long."""
    found: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        field = _fields.get(descriptor.full_name)
        if field is None:
            field = _fields[descriptor.full_name] = _field(descriptor)
        found[field.name] = field.make(value)
    return found


def _field(descriptor: FieldDescriptor) -> _Field:
    if descriptor.GetOptions().debug_redact:
        return _Field(descriptor.json_name, _masked)
    kind = descriptor.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return _Field(descriptor.json_name, _mapping)
    one = _one(descriptor)
    if not descriptor.is_repeated:
        return _Field(descriptor.json_name, one)
    return _Field(descriptor.json_name, lambda values: _several(values, one))


def _one(descriptor: FieldDescriptor) -> Callable[[Any], Any]:
    if descriptor.message_type is not None:
        return plain
    if descriptor.enum_type is not None:
        names = descriptor.enum_type.values_by_number
        return lambda number: names[number].name if number in names else number
    match descriptor.type:
        case FieldDescriptor.TYPE_STRING:
            return masked_text
        case FieldDescriptor.TYPE_BYTES:
            return lambda value: f"{len(value)} bytes"
        case _:
            return lambda value: value


def _several(values: Iterable[Any], one: Callable[[Any], Any]) -> list[Any]:
    listed = list(values)
    made = [one(value) for value in listed[:_ITEMS]]
    if len(listed) > _ITEMS:
        made.append(f"… and {len(listed) - _ITEMS} more")
    return made


def _mapping(values: Any) -> dict[str, str]:
    return {masked_text(str(key)): masked_text(str(values[key])) for key in list(values)[:_ITEMS]}


def _masked(_value: Any) -> str:
    return MASKED


def masked_text(value: str) -> str:
    """The text without what looks like a secret, and not endlessly long."""
    if _SUSPICIOUS.search(value):
        # What comes behind ? in an address is often what makes it a secret.
        value = without_secrets(_QUERY.sub(rf"\1?{MASKED}", value))
    return value if len(value) <= _TEXT else f"{value[:_TEXT]}…"
