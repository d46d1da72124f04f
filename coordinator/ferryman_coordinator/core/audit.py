"""What the audit log says, and how its records hang together (CP-443 to CP-449, PF-262 to PF-267).

A record is a document in the words of AWS CloudTrail. Its hash is over the hash of the record before it, its place and
its own text, so that none can be changed, taken out or put in without all that follow becoming wrong.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from ferryman_coordinator.core.model import DeploymentId, Instant

EVENT_VERSION = "1.08"
EVENT_SOURCE = "codedeploy.amazonaws.com"
CALL = "AwsApiCall"
DECISION = "AwsServiceEvent"

GENESIS = "0" * 64
"""Stands for the hash of the record before the first one."""

DENIED = ("AccessDeniedException",)
"""Error codes of what was refused for want of rights; those of want of identity are in `UNAUTHENTICATED`."""

_SYSTEM = "ferryman"


class ActorKind(StrEnum):
    """`userIdentity.type`. The first three are AWS's words."""

    USER = "IAMUser"
    SESSION = "AssumedRole"
    UNKNOWN = "Unknown"
    AGENT = "FerrymanAgent"
    DEPLOYMENT = "FerrymanDeployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who did it. `credential_id` is shown as the access key's id; `since` is when that credential was made."""

    kind: ActorKind
    principal_id: str = ""
    name: str = ""
    # Behind the account in the ARN.
    resource: str = ""
    credential_id: str = ""
    since: Instant | None = None
    issuer_id: str = ""


NOBODY = Actor(kind=ActorKind.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a call ended that was not granted. `is_denied`: for want of identity or rights."""

    code: str
    message: str
    is_denied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call from any door. Parameters have their secrets masked already."""

    at: Instant
    event_id: str
    request_id: str
    event: str
    actor: Actor
    source: str
    user_agent: str
    parameters: Mapping[str, Any] | None
    response: Mapping[str, Any] | None = None
    is_read: bool = False
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the coordinator decided by itself, about which deployment and why (CP-448).

    `creator`: on whose behalf, in CodeDeploy's words (codeDeployRollback, …).
    """

    event: str
    deployment_id: DeploymentId
    creator: str
    cause: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Account and region, as they stand in ARNs."""

    account_id: str
    region: str

    def arn(self, resource: str) -> str:
        return f"arn:aws:codedeploy:{self.region}:{self.account_id}:{resource}" if resource else ""


def call_document(call: Call, place: Place) -> dict[str, Any]:
    """A call as it is written down (CP-444, CP-445): of reads without a response."""
    document = {
        "eventVersion": EVENT_VERSION,
        "userIdentity": _identity(call.actor, place),
        "eventTime": utc(call.at),
        "eventSource": EVENT_SOURCE,
        "eventName": call.event,
        "awsRegion": place.region,
        "sourceIPAddress": call.source,
        "userAgent": call.user_agent,
        "requestParameters": call.parameters,
        "responseElements": None if call.is_read or call.failure is not None else call.response,
        "requestID": call.request_id,
        "eventID": call.event_id,
        "readOnly": call.is_read,
        "eventType": CALL,
        "recipientAccountId": place.account_id,
    }
    if call.failure is not None:
        document["errorCode"] = call.failure.code
        document["errorMessage"] = call.failure.message
        document["denied"] = call.failure.is_denied
    return document


def decision_document(decision: Decision, at: Instant, event_id: str, place: Place) -> dict[str, Any]:
    """A decision as it is written down: the deployment is who did it (CP-448, PF-265)."""
    return {
        "eventVersion": EVENT_VERSION,
        "userIdentity": {
            "type": ActorKind.DEPLOYMENT.value,
            "principalId": decision.deployment_id,
            "arn": "",
            "accountId": place.account_id,
            "accessKeyId": "",
            "userName": decision.deployment_id,
            "invokedBy": decision.creator,
        },
        "eventTime": utc(at),
        "eventSource": EVENT_SOURCE,
        "eventName": decision.event,
        "awsRegion": place.region,
        "sourceIPAddress": _SYSTEM,
        "userAgent": _SYSTEM,
        "requestParameters": None,
        "responseElements": None,
        "serviceEventDetails": {
            "creator": decision.creator,
            "cause": decision.cause,
            "deploymentId": decision.deployment_id,
            **decision.details,
        },
        "requestID": event_id,
        "eventID": event_id,
        "readOnly": False,
        "eventType": DECISION,
        "recipientAccountId": place.account_id,
    }


def utc(at: Instant) -> str:
    """ISO 8601 with milliseconds: texts of this form sort as their times do (CP-446)."""
    return f"{datetime.fromtimestamp(at // 1000, UTC).isoformat()[:19]}.{at % 1000:03d}Z"


@functools.lru_cache(maxsize=1_024)
def _identity(actor: Actor, place: Place) -> Mapping[str, Any]:
    """The same object for the same actor: whoever calls once calls again."""
    return {
        "type": actor.kind.value,
        "principalId": actor.principal_id,
        "arn": place.arn(actor.resource),
        "accountId": place.account_id,
        "accessKeyId": actor.credential_id,
        "userName": actor.name,
        "sessionContext": {
            "attributes": {
                # A second factor comes with signing in by a browser.
                "mfaAuthenticated": "false",
                "creationDate": "" if actor.since is None else utc(actor.since),
            },
            "sessionIssuer": {"type": "Credential", "principalId": actor.issuer_id}
            if actor.issuer_id
            else {},
        },
    }


# The chain ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """A record in its place. `columns` are what lists filter by, read from the body again when it is verified."""

    sequence: int
    body: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends; the next record gets the next sequence."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The chain ended here once, says whoever has the key."""

    sequence: int
    at: Instant
    hash: str
    seal: str


BEGINNING = Head(0, GENESIS)


def append(head: Head, body: str) -> Link:
    """The next record of the chain."""
    sequence = head.sequence + 1
    return Link(sequence, body, link_hash(head.hash, sequence, body))


def link_hash(previous: str, sequence: int, body: str) -> str:
    return hashlib.sha256(f"{previous}\n{sequence}\n{body}".encode()).hexdigest()


def seal(key: bytes, head: Head, at: Instant) -> Checkpoint:
    """A checkpoint at the head."""
    plain = Checkpoint(head.sequence, at, head.hash, "")
    return replace(plain, seal=_sealed(key, plain))


def pruned_to(key: bytes, checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint, saying as well that what was before it may be gone."""
    return replace(checkpoint, seal=_sealed(key, checkpoint, _PRUNED))


def is_genuine(key: bytes, checkpoint: Checkpoint) -> bool:
    """Whether whoever has the key made it."""
    made = hmac.compare_digest(_sealed(key, checkpoint), checkpoint.seal)
    return made or is_beginning(key, checkpoint)


def is_beginning(key: bytes, checkpoint: Checkpoint) -> bool:
    """Whether whoever has the key said that the log begins behind it now."""
    return hmac.compare_digest(_sealed(key, checkpoint, _PRUNED), checkpoint.seal)


_PRUNED = "pruned\n"


def _sealed(key: bytes, of: Checkpoint, what: str = "") -> str:
    return hmac.digest(key, f"{what}{of.sequence}\n{of.at}\n{of.hash}".encode(), "sha256").hex()


def problem_of(link: Link, before: Head) -> str:
    """Why the record does not follow `before`; empty when it does."""
    if link.sequence != before.sequence + 1:
        missing = f"{before.sequence + 1}"
        if link.sequence > before.sequence + 2:
            missing += f" to {link.sequence - 1}"
        return f"record {missing} is missing before it"
    if not hmac.compare_digest(link_hash(before.hash, link.sequence, link.body), link.hash):
        return "its text or the one before was changed: its hash does not fit"
    return ""
