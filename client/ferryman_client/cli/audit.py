"""`ferryman audit`: list records, verify the chain."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ferryman.v1 import audit_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.configs import parse_duration
from ferryman_client.cli.session import EXIT_FAILED, EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import iso_time
from ferryman_client.client import Client

app = typer.Typer(no_args_is_help=True, help="The audit log: who asked for what, and what was decided.")

_PAGE = 500
_VERIFY_SECONDS = 600.0


@app.command(name="list")
def list_(
    user: Annotated[
        str, typer.Option("--user", help="Only of this user, instance id or deployment id.")
    ] = "",
    event: Annotated[str, typer.Option("--event", help="Only this operation: CreateDeployment.")] = "",
    since: Annotated[str, typer.Option("--since", help="Not before: 2h, 7d, or 2030-01-31T08:00:00Z.")] = "",
    until: Annotated[str, typer.Option("--until", help="Before: the same forms.")] = "",
    denied: Annotated[
        bool, typer.Option("--denied", help="Only what was refused for want of identity or rights.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many at most, the newest.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List audit records, newest first.

    Example: ferryman audit list --denied --since 24h
    """
    request = pb.ListAuditRecordsRequest(user=user, event_name=event, denied=denied)
    if since:
        request.since = _time(since)
    if until:
        request.until = _time(until)
    found = ask(lambda client: _read(client, request, limit))
    if as_json:
        render.print_json({"records": [_document(record) for record in found]})
        return
    rows = (
        (
            iso_time(record.event_time),
            record.event_name,
            record.user or "-",
            record.source_address,
            record.error_code or "-",
        )
        for record in found
    )
    render.print_table(("TIME", "EVENT", "USER", "FROM", "ERROR"), rows, empty="no such records")


@app.command()
def verify(as_json: JsonOption = False) -> None:
    """Recount the chain of records; exit code 1 when one was changed or is missing."""
    answer = ask(
        lambda client: client.call(client.audit.VerifyAudit, pb.VerifyAuditRequest(), timeout=_VERIFY_SECONDS)
    )
    if as_json:
        render.print_json(answer)
    elif answer.is_intact:
        render.say(
            f"{answer.records} records, {answer.first_sequence} to {answer.last_sequence}, are as they were written"
        )
        render.note(f"the last one's hash: {answer.last_hash}")
    if not answer.is_intact:
        fail(f"record {answer.broken_sequence}: {answer.problem}", EXIT_FAILED)


async def _read(client: Client, request: pb.ListAuditRecordsRequest, limit: int) -> list[pb.AuditRecord]:
    found: list[pb.AuditRecord] = []
    while len(found) < limit:
        request.page.size = min(_PAGE, limit - len(found))
        response = await client.call(client.audit.ListAuditRecords, request)
        found += response.records
        if not response.next_page_token:
            break
        request.page.token = response.next_page_token
    return found


def _document(record: pb.AuditRecord) -> dict[str, Any]:
    """The record itself, with its place in the chain."""
    return {"sequence": record.sequence, "hash": record.hash, **json.loads(record.document)}


def _time(text: str) -> int:
    if text[-1:].lower() in "smhd" and text[:-1].isdigit():
        return int((datetime.now(UTC).timestamp() - parse_duration(text)) * 1000)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        fail(f"'{text}' is no time: write 2h, 7d, or 2030-01-31T08:00:00Z", EXIT_USAGE)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
