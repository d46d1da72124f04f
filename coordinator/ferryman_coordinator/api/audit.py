"""AuditService: who asked for what, and whether the record of it is whole."""

from __future__ import annotations

from collections.abc import Callable

import grpc.aio
import msgspec

from ferryman.v1 import audit_pb2 as pb
from ferryman.v1 import audit_pb2_grpc
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping.values import page_from
from ferryman_coordinator.core.audit import Head
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.operations.audit import AuditTrail
from ferryman_coordinator.store.queries.audit import DENIED, AuditFilter, StoredRecord


class _Told(msgspec.Struct, rename={"event_id": "eventID", "source": "sourceIPAddress"}):
    event_id: str
    source: str


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """`anchor` gives a record that is known, from outside of the database, to have been there."""

    def __init__(self, trail: AuditTrail, anchor: Callable[[], Head | None]) -> None:
        self._trail = trail
        self._anchor = anchor

    def register(self, server: grpc.aio.Server) -> str:
        audit_pb2_grpc.add_AuditServiceServicer_to_server(self, server)
        return "ferryman.v1.AuditService"

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        wanted = AuditFilter(
            user_name=request.user,
            event_name=request.event_name,
            since=Instant(request.since) if request.HasField("since") else None,
            until=Instant(request.until) if request.HasField("until") else None,
            denied_only=request.denied,
        )
        page = await self._trail.list(wanted, page_from(request.page))
        records = [_record_to(one) for one in page.items]
        return pb.ListAuditRecordsResponse(records=records, next_page_token=page.next_token)

    async def VerifyAudit(self, request: pb.VerifyAuditRequest, context: Context) -> pb.VerifyAuditResponse:
        check = await self._trail.verify(self._anchor())
        return pb.VerifyAuditResponse(
            is_intact=check.is_intact,
            records=check.records,
            first_sequence=check.first,
            last_sequence=check.last.sequence,
            last_hash=check.last.hash,
            broken_sequence=check.broken,
            problem=check.problem,
        )


def _record_to(record: StoredRecord) -> pb.AuditRecord:
    told = msgspec.json.decode(record.link.body, type=_Told)
    return pb.AuditRecord(
        sequence=record.link.sequence,
        hash=record.link.hash,
        document=record.link.body,
        event_time=record.at,
        event_id=told.event_id,
        event_name=record.event_name,
        user=record.user_name,
        source_address=told.source,
        error_code=record.outcome.removeprefix(DENIED),
    )
