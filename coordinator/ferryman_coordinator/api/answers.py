"""From errors to gRPC statuses: the one place that decides what a caller gets to see."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
import structlog

from ferryman.faults import encode_fault
from ferryman_coordinator.errors import (
    Conflict,
    Denied,
    FerrymanError,
    Invalid,
    LimitExceeded,
    NotFound,
    RecordUnavailable,
    Refused,
    StoreUnavailable,
    StreamEnded,
    Unauthenticated,
)

log = structlog.get_logger(__name__)

_MESSAGE_LIMIT = 16 * 1024
_STATUS_LIMIT = 1024
_CUT = " …"
_DONE_UNRECORDED = (
    "what was asked for is done, but its audit record cannot be stored yet: look at what is there before you ask again,"
    " and look after the coordinator's database"
)

_CODES: tuple[tuple[type[Refused], grpc.StatusCode], ...] = (
    (Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (LimitExceeded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Denied, grpc.StatusCode.PERMISSION_DENIED),
)
_EXISTS = ("AlreadyExistsException", "AlreadyRegisteredException")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a call ends that was not granted."""

    code: grpc.StatusCode
    reason: str
    message: str
    details: Mapping[str, str] = field(default_factory=dict)
    is_retryable: bool = False

    @property
    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        details = {name: _at_most(value, _MESSAGE_LIMIT) for name, value in self.details.items()}
        return encode_fault(
            self.reason, _at_most(self.message, _MESSAGE_LIMIT), details, is_retryable=self.is_retryable
        )

    @property
    def status_text(self) -> str:
        """For clients that know nothing of faults."""
        return _at_most(self.message, _STATUS_LIMIT)


def answer_to(error: Exception, method: str) -> Answer:
    """Returns what the caller is told. What is not meant for callers is logged under an incident number instead."""
    if isinstance(error, Refused):
        return Answer(
            code=_code(error),
            reason=error.reason,
            message=error.message,
            details=error.details,
            is_retryable=error.is_retryable or "retry_after_seconds" in error.details,
        )
    if isinstance(error, StoreUnavailable):
        log.warning("api.store_unavailable", method=method, error=str(error))
        is_done = isinstance(error, RecordUnavailable)
        return Answer(
            code=grpc.StatusCode.UNAVAILABLE,
            reason="StoreUnavailable",
            message=_DONE_UNRECORDED
            if is_done
            else "the coordinator cannot reach its database: try again soon",
            is_retryable=True,
        )
    if isinstance(error, StreamEnded):
        return Answer(
            code=grpc.StatusCode.UNAVAILABLE,
            reason="StreamEnded",
            message=str(error),
            is_retryable=error.is_retryable,
        )
    incident = secrets.token_hex(6)
    log.error("api.incident", incident=incident, method=method, exc_info=error)
    return Answer(
        code=grpc.StatusCode.INTERNAL,
        reason="Incident",
        message=f"the coordinator failed in a way that it should not: look for incident {incident} in its log",
        details={"incident": incident},
        is_retryable=isinstance(error, FerrymanError) and error.is_retryable,
    )


def _code(error: Refused) -> grpc.StatusCode:
    if isinstance(error, Conflict) and error.reason.endswith(_EXISTS):
        return grpc.StatusCode.ALREADY_EXISTS
    return next(
        (code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.FAILED_PRECONDITION
    )


def _at_most(text: str, limit: int) -> str:
    """Cuts by bytes, since that is what metadata is limited by."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT
