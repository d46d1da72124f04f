"""What a caller gets to see of an error, and what not."""

from __future__ import annotations

import grpc
import pytest

from ferryman.channel import METADATA_LIMIT
from ferryman.faults import decode_fault
from ferryman.v1 import faults_pb2
from ferryman_coordinator.api.answers import Answer, answer_to
from ferryman_coordinator.errors import (
    Conflict,
    ConstraintBroken,
    Denied,
    Invalid,
    LimitExceeded,
    NotFound,
    RecordUnavailable,
    StoreUnavailable,
    StreamEnded,
    Unauthenticated,
)


def fault_of(answer: Answer) -> faults_pb2.Fault:
    fault = decode_fault(answer.trailing_metadata)
    assert fault is not None
    return fault


@pytest.mark.parametrize(
    "error,code",
    [
        (Invalid("InvalidTagException", "m"), grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound("ApplicationDoesNotExistException", "m"), grpc.StatusCode.NOT_FOUND),
        (Conflict("ApplicationAlreadyExistsException", "m"), grpc.StatusCode.ALREADY_EXISTS),
        (Conflict("InstanceNameAlreadyRegisteredException", "m"), grpc.StatusCode.ALREADY_EXISTS),
        (Conflict("DeploymentAlreadyCompletedException", "m"), grpc.StatusCode.FAILED_PRECONDITION),
        (LimitExceeded("DeploymentLimitExceededException", "m"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Unauthenticated("TokenInvalid", "m"), grpc.StatusCode.UNAUTHENTICATED),
        (Denied("WrongPort", "m"), grpc.StatusCode.PERMISSION_DENIED),
        (StoreUnavailable("m"), grpc.StatusCode.UNAVAILABLE),
        (StreamEnded("m"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_each_kind_has_its_status(error: Exception, code: grpc.StatusCode) -> None:
    answer = answer_to(error, "/s/m")
    assert answer.code is code
    assert fault_of(answer).reason == getattr(error, "reason", answer.reason)
    assert fault_of(answer).is_retryable is (code is grpc.StatusCode.UNAVAILABLE)


def test_details_travel_along() -> None:
    error = LimitExceeded("DeploymentLimitExceededException", "m", deployment_id="d-AAAAAAAAA")
    assert fault_of(answer_to(error, "/s/m")).details == {"deployment_id": "d-AAAAAAAAA"}


def test_a_refusal_with_a_time_can_be_tried_again() -> None:
    error = LimitExceeded("TooManyFailures", "m", retry_after_seconds="5")
    assert fault_of(answer_to(error, "/s/m")).is_retryable


@pytest.mark.parametrize(
    "error", [RuntimeError("password=hunter2 /var/lib"), ConstraintBroken("hunter2"), KeyError("hunter2")]
)
def test_an_own_fault_shows_a_number_and_nothing_else(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_to(error, "/s/m")
    fault = fault_of(answer)
    assert answer.code is grpc.StatusCode.INTERNAL
    assert "hunter2" not in answer.status_text + str(fault)
    assert fault.details["incident"] in fault.message
    assert fault.details["incident"] in capsys.readouterr().out


def test_the_database_s_own_words_are_not_shown() -> None:
    answer = answer_to(StoreUnavailable("cannot use postgresql://u:hunter2@db"), "/s/m")
    assert "hunter2" not in answer.status_text + str(fault_of(answer))


def test_what_is_done_and_only_not_recorded_is_told_as_that() -> None:
    answer = answer_to(RecordUnavailable("m"), "/s/m")
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "is done, but its audit record cannot be stored yet" in answer.message


def test_a_message_with_every_mistake_fits_into_the_metadata() -> None:
    long = "\n".join(f"appspec.yml:{line}:1: error: ä wrong" for line in range(2_000))
    answer = answer_to(Invalid("InvalidRevisionException", long), "/s/m")
    assert len(answer.status_text.encode()) <= 1024
    assert len(fault_of(answer).message.encode()) <= 16 * 1024
    whole = (
        len(answer.status_text.encode()) * 3 + sum(len(value) for _, value in answer.trailing_metadata) * 2
    )
    assert whole < METADATA_LIMIT
    assert fault_of(answer).message.startswith("appspec.yml:0:1")
