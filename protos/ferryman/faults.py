"""Failure reasons in gRPC status details: one encoding that server and clients share.

A refused call carries a serialised `Fault` under the trailing metadata key `FAULT_KEY`, so that a client need never
match message text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.protobuf.message import DecodeError

from ferryman.v1 import faults_pb2

FAULT_KEY = "ferryman-fault-bin"


def encode_fault(
    reason: str, message: str, details: Mapping[str, str], *, is_retryable: bool
) -> tuple[tuple[str, bytes], ...]:
    """Returns the trailing metadata that carries a fault."""
    fault = faults_pb2.Fault(reason=reason, message=message, details=dict(details), is_retryable=is_retryable)
    return ((FAULT_KEY, fault.SerializeToString()),)


def decode_fault(trailing_metadata: Iterable[tuple[str, str | bytes]] | None) -> faults_pb2.Fault | None:
    """Returns the fault in a call's trailing metadata; None when there is none or it cannot be read."""
    for key, value in trailing_metadata or ():
        if key == FAULT_KEY and isinstance(value, bytes):
            try:
                return faults_pb2.Fault.FromString(value)
            except DecodeError:
                return None
    return None
