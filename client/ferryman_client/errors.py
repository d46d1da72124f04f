"""What a caller of the client can catch.

ClientError
├── ProfileError           who and where is not configured, or wrongly
├── Unreachable            no coordinator answers there, or its certificate is not the one expected
├── RefusedError           the coordinator said no; `reason` is stable, `details` are named facts
│   ├── InvalidRequest     the request itself is wrong
│   ├── NotFoundError      it names something that does not exist
│   ├── ConflictError      exists already, is in use, in the wrong state, or a quota is reached
│   └── DeniedError        no identity, or one that may not do this
├── CoordinatorFault       the coordinator met an error of its own
└── BundleProblem          the bundle cannot be built or read here
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from ferryman.faults import decode_fault


class ClientError(Exception):
    """Base of everything that the client raises on purpose."""

    is_retryable = False


class ProfileError(ClientError):
    """Who and where is not configured, or wrongly; the message says how to mend it."""


class Unreachable(ClientError):
    """No coordinator answers at the address, or it cannot be trusted."""

    is_retryable = True


class CoordinatorFault(ClientError):
    """The coordinator met an error of its own; its log has the details."""


class BundleProblem(ClientError):
    """The bundle cannot be built or read here."""


class RefusedError(ClientError):
    """The coordinator said no; nothing was changed."""

    def __init__(self, reason: str, message: str, details: Mapping[str, str]) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.details = details


class InvalidRequest(RefusedError):
    """The request itself is wrong."""


class NotFoundError(RefusedError):
    """It names something that does not exist."""


class ConflictError(RefusedError):
    """It exists already, is in use, is in the wrong state, or a quota is reached."""


class DeniedError(RefusedError):
    """There is no identity, or one that may not do this."""


_REFUSALS: Mapping[grpc.StatusCode, type[RefusedError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.UNAUTHENTICATED: DeniedError,
    grpc.StatusCode.PERMISSION_DENIED: DeniedError,
}


def from_rpc_error(error: grpc.aio.AioRpcError, address: str) -> ClientError:
    """Returns the error of this module that a failed call to `address` means."""
    fault = decode_fault(error.trailing_metadata())
    code = error.code()
    if refusal := _REFUSALS.get(code):
        if fault is not None:
            return refusal(fault.reason, fault.message, dict(fault.details))
        return refusal(code.name, error.details() or code.name, {})
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        if fault is not None:
            return Unreachable(f"the coordinator at {address} cannot serve that now: {fault.message}")
        return Unreachable(_unreachable_text(address, error.details() or ""))
    return CoordinatorFault(f"the coordinator at {address} failed: {error.details() or code.name}")


def _unreachable_text(address: str, details: str) -> str:
    if "certificate is not yet valid" in details or "certificate has expired" in details:
        return (
            f"the coordinator at {address} shows a certificate that is not valid at this machine's time: compare the "
            "clocks of the two"
        )
    if "CERTIFICATE_VERIFY_FAILED" in details or "certificate verify failed" in details:
        return (
            f"the coordinator at {address} shows a certificate that the configured CA did not issue; "
            "check the profile's CA file (`ferryman profile list`) against `ca_fingerprint` in the coordinator's log"
        )
    if "Connection refused" in details:
        return f"nothing listens at {address}; is `ferryman-coordinator serve` running there?"
    return f"cannot reach the coordinator at {address}: {details or 'no answer'}"
