"""The audit log over real gRPC: one record a call, whatever became of it, and nothing secret in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import sqlalchemy as sa

from ferryman.v1 import (
    agents_pb2,
    audit_pb2,
    deployments_pb2,
    identity_pb2,
    inventory_pb2,
    tokens_pb2,
    types_pb2,
)
from ferryman_coordinator.config import load
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.process import verify_audit
from tests.support.coordinator import (
    RunningCoordinator,
    agents_stub,
    deployments_stub,
    inventory_stub,
    make_request,
    refusal,
    running_coordinator,
    tokens_stub,
)
from tests.support.people import audit_stub, bearer, identity_stub, person, records

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def document(record: audit_pb2.AuditRecord) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(record.document)
    return read


async def create(coordinator: RunningCoordinator, name: str = "web") -> None:
    async with coordinator.channel() as channel:
        request = inventory_pb2.CreateApplicationRequest(name=name)
        await inventory_stub(channel).CreateApplication(request, metadata=coordinator.admin)


@pytest.mark.req("CP-443", "CP-444", "CP-446", "PF-262", "PF-263")
async def test_a_change_is_recorded_with_all_that_is_known(coordinator: RunningCoordinator) -> None:
    await create(coordinator)
    (record,) = await records(coordinator, event_name="CreateApplication")
    told = document(record)
    identity = told.pop("userIdentity")
    assert TIME.fullmatch(told.pop("eventTime"))
    assert GUID.fullmatch(told.pop("eventID"))
    assert GUID.fullmatch(told.pop("requestID"))
    assert GUID.fullmatch(told["responseElements"].pop("applicationId"))
    assert told.pop("userAgent").startswith("grpc-python")
    assert told == {
        "eventVersion": "1.08",
        "eventSource": "codedeploy.amazonaws.com",
        "eventName": "CreateApplication",
        "awsRegion": "local",
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": {"name": "web"},
        "responseElements": {},
        "readOnly": False,
        "eventType": "AwsApiCall",
        "recipientAccountId": "000000000000",
    }
    assert TIME.fullmatch(identity["sessionContext"]["attributes"].pop("creationDate"))
    assert identity.pop("accessKeyId")
    assert identity == {
        "type": "IAMUser",
        "principalId": "admin",
        "arn": "arn:aws:codedeploy:local:000000000000:user/admin",
        "accountId": "000000000000",
        "userName": "admin",
        "sessionContext": {"attributes": {"mfaAuthenticated": "false"}, "sessionIssuer": {}},
    }
    assert (record.user, record.source_address, record.error_code) == ("admin", "127.0.0.1", "")


@pytest.mark.req("CP-445")
async def test_reads_have_no_response_and_failures_say_why(coordinator: RunningCoordinator) -> None:
    await create(coordinator)
    async with coordinator.channel() as channel:
        stub = inventory_stub(channel)
        await stub.GetApplication(inventory_pb2.GetApplicationRequest(name="web"), metadata=coordinator.admin)
        await refusal(
            stub.GetApplication(inventory_pb2.GetApplicationRequest(name="ghost"), metadata=coordinator.admin)
        )
    failed, granted = map(document, await records(coordinator, event_name="GetApplication"))
    assert (granted["readOnly"], granted["responseElements"], granted["requestParameters"]) == (
        True,
        None,
        {"name": "web"},
    )
    assert "errorCode" not in granted
    assert failed["errorCode"] == "ApplicationDoesNotExistException"
    assert "ghost" in failed["errorMessage"]
    assert failed["responseElements"] is None


@pytest.mark.req("CP-034")
async def test_a_request_that_is_refused_leaves_its_record_and_nothing_else(
    coordinator: RunningCoordinator,
) -> None:
    engine = sa.create_engine(f"sqlite:///{coordinator.ready.data_dir}/ferryman.db")

    def everything() -> dict[str, list[Any]]:
        found = {}
        with engine.connect() as connection:
            for table in sa.inspect(connection).get_table_names():
                if not table.startswith("audit_"):
                    found[table] = list(connection.execute(sa.text(f"SELECT * FROM {table}")))
        return found

    await create(coordinator)
    before = everything()
    async with coordinator.channel() as channel:
        inventory, deployments = inventory_stub(channel), deployments_stub(channel)
        for bad in (
            inventory.CreateApplication(
                inventory_pb2.CreateApplicationRequest(name="not valid"), metadata=coordinator.admin
            ),
            inventory.CreateDeploymentGroup(
                inventory_pb2.CreateDeploymentGroupRequest(application_name="web", name="a/b"),
                metadata=coordinator.admin,
            ),
            deployments.CreateDeployment(
                deployments_pb2.CreateDeploymentRequest(), metadata=coordinator.admin
            ),
        ):
            code, _ = await refusal(bad)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
    found = await records(coordinator)
    assert {one.error_code for one in found[:3]} == {
        "ApplicationNameRequiredException",
        "InvalidDeploymentGroupNameException",
        "InvalidApplicationNameException",
    }
    assert everything() == before
    engine.dispose()


@pytest.mark.req("CP-443", "PF-264")
async def test_what_is_denied_is_recorded_with_who_tried(coordinator: RunningCoordinator) -> None:
    ann = await person(coordinator, "ann", "viewer")
    async with coordinator.channel() as channel:
        stub = inventory_stub(channel)
        request = inventory_pb2.CreateApplicationRequest(name="web")
        await refusal(stub.CreateApplication(request, metadata=ann))
        await refusal(stub.CreateApplication(request, metadata=bearer("ferryman-access-1-wrong")))
        await refusal(stub.CreateApplication(request))
        await refusal(
            stub.GetApplication(inventory_pb2.GetApplicationRequest(name="no"), metadata=coordinator.admin)
        )
    missing, wrong, denied = await records(coordinator, denied=True)
    assert (denied.user, denied.error_code) == ("ann", "AccessDeniedException")
    assert document(denied)["requestParameters"] == {"name": "web"}
    assert (wrong.user, wrong.error_code) == ("", "TokenInvalid")
    assert document(wrong)["userIdentity"]["type"] == "Unknown"
    # Nothing of a request is read before it is known who calls.
    assert document(wrong)["requestParameters"] is None
    assert missing.error_code == "TokenRequired"


async def test_a_change_that_is_refused_is_answered_once_that_is_stored(
    coordinator: RunningCoordinator,
) -> None:
    ann = await person(coordinator, "ann", "viewer")
    database = f"{coordinator.ready.data_dir}/ferryman.db"
    async with coordinator.channel() as channel:
        for number in range(20):
            request = inventory_pb2.CreateApplicationRequest(name=f"web-{number}")
            await refusal(inventory_stub(channel).CreateApplication(request, metadata=ann))
            with contextlib.closing(sqlite3.connect(database)) as connection:
                found = connection.execute(
                    "SELECT body FROM audit_records WHERE user_name = 'ann' ORDER BY sequence DESC LIMIT 1"
                ).fetchone()
            assert f'"web-{number}"' in found[0]


@pytest.mark.req("CP-447", "PF-266")
async def test_secrets_are_not_written_down(coordinator: RunningCoordinator) -> None:
    secrets = ["github_pat_" + "s" * 22, "hunter2secret"]
    async with coordinator.channel() as channel:
        tokens, identity, inventory = (
            tokens_stub(channel),
            identity_stub(channel),
            inventory_stub(channel),
        )
        put = tokens_pb2.PutGitHubTokenRequest(name="main", token=secrets[0])
        await tokens.PutGitHubToken(put, metadata=coordinator.admin)
        secrets.append(await coordinator.join_token())
        made = await identity.CreateAccessToken(
            identity_pb2.CreateAccessTokenRequest(user="admin", description=f"was {secrets[0]}"),
            metadata=coordinator.admin,
        )
        key = await identity.CreateAccessKey(
            identity_pb2.CreateAccessKeyRequest(user="admin"), metadata=coordinator.admin
        )
        session = await identity.CreateSession(
            identity_pb2.CreateSessionRequest(), metadata=coordinator.admin
        )
        secrets += [made.token, key.secret_access_key, session.secret_access_key, session.session_token]
        url = f"https://user:{secrets[1]}@example.org/a.tgz?signature={secrets[1]}"
        location = types_pb2.UrlLocation(url=url, bundle_type=types_pb2.BUNDLE_TYPE_TGZ)
        await create(coordinator)
        await inventory.RegisterRevision(
            inventory_pb2.RegisterRevisionRequest(
                application_name="web", location=types_pb2.RevisionLocation(url=location)
            ),
            metadata=coordinator.admin,
        )
        agent_token = await coordinator.join_token()
        secrets.append(agent_token)
        await coordinator.enrol("web-1")
    found = await records(coordinator)
    text = "\n".join(record.document for record in found)
    assert not [secret for secret in secrets if secret in text]
    told = {record.event_name: document(record) for record in found}
    assert told["PutGitHubToken"]["requestParameters"] == {"name": "main", "token": "***"}
    assert told["CreateAccessKey"]["responseElements"]["secretAccessKey"] == "***"
    assert told["EnrolInstance"]["requestParameters"]["joinToken"] == "***"
    assert told["CreateJoinToken"]["responseElements"]["token"] == "***"
    assert told["RegisterApplicationRevision"]["requestParameters"]["location"]["url"]["url"].endswith(
        "example.org/a.tgz?***"
    )


@pytest.mark.req("CP-443")
async def test_agents_are_recorded_when_they_enrol_and_renew_and_not_when_they_talk(
    coordinator: RunningCoordinator,
) -> None:
    agent = await coordinator.enrol("web-1")
    async with agent.channel() as channel:
        request = agents_pb2.RenewCertificateRequest(certificate_signing_request=make_request().request)
        await agents_stub(channel).RenewCertificate(request)
    names = [one.event_name for one in await records(coordinator)]
    assert names == ["RenewCertificate", "EnrolInstance", "CreateJoinToken"]
    (renewal,) = await records(coordinator, event_name="RenewCertificate")
    assert document(renewal)["userIdentity"]["type"] == "FerrymanAgent"
    assert renewal.user == agent.instance_id


async def test_stored_records_are_counted(coordinator: RunningCoordinator) -> None:
    await create(coordinator)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{coordinator.ready.http_url}/metrics") as answer,
    ):
        text = await answer.text()
    assert "ferryman_audit_records_total 1.0" in text
    assert "ferryman_audit_records_waiting 0.0" in text


async def test_reads_can_be_left_out_but_not_refused_ones(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data", {"audit.reads": "false"}) as coordinator:
        await create(coordinator)
        async with coordinator.channel() as channel:
            stub = inventory_stub(channel)
            for name in ("web", "ghost"):
                request = inventory_pb2.GetApplicationRequest(name=name)
                call: Awaitable[object] = stub.GetApplication(request, metadata=coordinator.admin)
                await (call if name == "web" else refusal(call))
        found = await records(coordinator)
    assert [(one.event_name, one.error_code) for one in found] == [
        ("GetApplication", "ApplicationDoesNotExistException"),
        ("CreateApplication", ""),
    ]


@pytest.mark.req("PF-270")
async def test_records_are_filtered_and_paged(coordinator: RunningCoordinator) -> None:
    for number in range(5):
        await create(coordinator, f"app-{number}")
    async with coordinator.channel() as channel:
        stub = audit_stub(channel)
        seen: list[str] = []
        request = audit_pb2.ListAuditRecordsRequest(user="admin", event_name="CreateApplication")
        request.page.size = 2
        while True:
            answer = await stub.ListAuditRecords(request, metadata=coordinator.admin)
            seen += [document(one)["requestParameters"]["name"] for one in answer.records]
            if not answer.next_page_token:
                break
            request.page.token = answer.next_page_token
        assert seen == [f"app-{number}" for number in (4, 3, 2, 1, 0)]
        third = (await records(coordinator, event_name="CreateApplication"))[2]
        late = audit_pb2.ListAuditRecordsRequest(event_name="CreateApplication", since=third.event_time + 1)
        newer = (await stub.ListAuditRecords(late, metadata=coordinator.admin)).records
        assert {one.sequence for one in newer} <= {third.sequence + 1, third.sequence + 2}
        bad = audit_pb2.ListAuditRecordsRequest(since=5, until=4)
        code, fault = await refusal(stub.ListAuditRecords(bad, metadata=coordinator.admin))
        assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidTimeRangeException")


@pytest.mark.req("CP-449", "PF-267")
async def test_a_change_in_the_database_is_found_by_name(tmp_path: Path) -> None:
    async with running_coordinator(tmp_path / "data") as coordinator:
        for number in range(4):
            await create(coordinator, f"app-{number}")
        async with coordinator.channel() as channel:
            stub = audit_stub(channel)
            whole = await stub.VerifyAudit(audit_pb2.VerifyAuditRequest(), metadata=coordinator.admin)
            assert (whole.is_intact, whole.records, whole.first_sequence) == (True, 4, 1)
            await asyncio.to_thread(
                change, coordinator, "UPDATE audit_records SET body = replace(body, 'app-2', 'app-x')"
            )
            broken = await stub.VerifyAudit(audit_pb2.VerifyAuditRequest(), metadata=coordinator.admin)
    assert (broken.is_intact, broken.broken_sequence) == (False, 3)
    assert "was changed" in broken.problem
    config = load(None, {}, {"data_dir": str(tmp_path / "data")})
    check = await verify_audit(config)
    assert (check.is_intact, check.broken) == (False, 3)


async def test_the_end_of_the_log_is_known_outside_of_the_database(tmp_path: Path) -> None:
    config = load(None, {}, {"data_dir": str(tmp_path / "data")})
    async with running_coordinator(tmp_path / "data") as coordinator:
        for number in range(3):
            await create(coordinator, f"app-{number}")
    assert (await verify_audit(config)).is_intact
    await asyncio.to_thread(change, coordinator, "DELETE FROM audit_records WHERE sequence = 3")
    check = await verify_audit(config)
    assert (check.is_intact, check.broken) == (False, 3)
    # With the checkpoint, too.
    await asyncio.to_thread(change, coordinator, "DELETE FROM audit_checkpoints")
    check = await verify_audit(config)
    assert "the data directory remembers" in check.problem
    nowhere = load(None, {}, {"data_dir": str(tmp_path / "other")})
    with pytest.raises(SetupError, match="no audit log here"):
        await verify_audit(nowhere)


@pytest.mark.req("CP-449", "PF-268")
async def test_records_go_to_a_file_as_well(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    settings = {"audit.file": str(file), "audit.file_size": "1KiB", "audit.files_kept": "2"}
    async with running_coordinator(tmp_path / "data", settings) as coordinator:
        await create(coordinator, "first")
    async with running_coordinator(tmp_path / "data", settings) as coordinator:
        for number in range(6):
            await create(coordinator, f"app-{number}")
    kept = [file.with_name(f"audit.jsonl.{number}") for number in (2, 1)] + [file] * file.exists()
    assert not file.with_name("audit.jsonl.3").exists()
    lines = [json.loads(line) for one in kept for line in one.read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(lines[0]["sequence"], 8))
    assert lines[-1]["record"]["requestParameters"] == {"name": "app-5"}
    newest = kept[-1] if file.exists() else kept[1]
    config = load(None, {}, {"data_dir": str(tmp_path / "data")})
    assert (await verify_audit(config, newest)).is_intact
    newest.write_text(newest.read_text().replace("app-5", "app-6"))
    check = await verify_audit(config, newest)
    assert (check.is_intact, check.broken) == (lines[-1]["sequence"] == check.first, check.broken)


def change(coordinator: RunningCoordinator, statement: str) -> None:
    """As somebody would who has the database."""
    engine = sa.create_engine(f"sqlite:///{coordinator.ready.data_dir}/ferryman.db")
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()
