"""Tokens of private repositories: in memory while they are needed, and nowhere else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman_agent.core.messages import DeploymentId
from ferryman_agent.runtime import mapping
from ferryman_agent.runtime.download_secrets import MOST, DownloadSecrets
from ferryman_agent.runtime.journal import Journal
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import a_deployment, a_segment

HEADERS = (("Authorization", "token SECRET"),)


@pytest.mark.req("V2-141", "AG-095", "AG-F13", "AG-H06")
def test_no_text_of_a_deployment_has_it() -> None:
    message = pb.RunSegment(
        command_id="d-1/i-1/1/0", deployment=pb.DeploymentDescription(deployment_id="d-1")
    )
    message.deployment.download_headers["Authorization"] = "token SECRET"
    segment = mapping.segment(message, "https://c")
    assert segment.deployment.download_headers == HEADERS
    assert "SECRET" not in f"{segment!r} {segment} {segment.deployment!r}"


@pytest.mark.req("V2-141")
async def test_it_goes_past_the_journal_and_comes_together_again(tmp_path: Path) -> None:
    secrets = DownloadSecrets()
    segment = a_segment(download_headers=HEADERS)
    passed = replace(segment, deployment=secrets.take(segment.deployment))
    journal = Journal(tmp_path / "journal", ManualAgentClock())
    journal.open()
    journal.receive(passed, is_announced=True)
    await journal.sync()
    journal.close()
    written = (tmp_path / "journal").read_bytes()
    assert b"SECRET" not in written
    assert b"Authorization" in written, "after a restart it must show that something is missing"
    assert await secrets.complete(passed.deployment) == segment.deployment


@pytest.mark.req("V2-141", "V2-001")
async def test_after_a_restart_the_download_waits_for_the_repeated_command(tmp_path: Path) -> None:
    before = DownloadSecrets().take(a_deployment(download_headers=HEADERS))
    secrets = DownloadSecrets()
    waiting = asyncio.create_task(secrets.complete(before))
    secrets.take(a_deployment("d-2", download_headers=(("Authorization", "of another"),)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    fresh = a_deployment(download_headers=HEADERS)
    revision = replace(fresh.revision, url="https://coordinator/fresh")
    secrets.take(replace(fresh, revision=revision))
    found = await waiting
    assert (found.download_headers, found.revision.url) == (HEADERS, "https://coordinator/fresh")


async def test_one_without_secrets_waits_for_nothing_and_takes_the_newest_address() -> None:
    secrets = DownloadSecrets()
    deployment = a_deployment()
    assert await secrets.complete(deployment) is deployment
    revision = replace(deployment.revision, url="https://coordinator/fresh")
    secrets.take(replace(deployment, revision=revision))
    assert (await secrets.complete(deployment)).revision.url == "https://coordinator/fresh"


async def test_what_is_forgotten_and_the_oldest_of_too_many_are_gone() -> None:
    secrets = DownloadSecrets()
    first = secrets.take(a_deployment("d-0", download_headers=HEADERS))
    for number in range(1, MOST + 1):
        secrets.take(a_deployment(f"d-{number}", download_headers=HEADERS))
    last = secrets.take(a_deployment("d-x", download_headers=HEADERS))
    secrets.forget(DeploymentId("d-x"))
    for gone in (first, last):
        waiting = asyncio.create_task(secrets.complete(gone))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
