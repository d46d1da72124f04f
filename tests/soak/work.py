"""What is deployed in a long run: mostly what goes well, among it what is large, talkative, failing or stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from enum import StrEnum
from pathlib import Path

from ferryman.v1 import deployments_pb2, types_pb2
from ferryman_client.bundle import build_bundle
from ferryman_client.client import FINAL_STATUSES, Client
from tests.support.fleet import write_bundle

GROUPS = 6
ROLLED_BACK_GROUPS = (1, 5)
PATIENCE_SECONDS = 180.0
_LARGE_FILES, _LARGE_FILE_BYTES = 10, 10_000_000
_STOP_AFTER_SECONDS = 0.3


class Kind(StrEnum):
    """What is special about a deployment."""

    PLAIN = "plain"
    LARGE = "large"
    TALKATIVE = "talkative"
    FAILING = "failing"
    STOPPED = "stopped"


def kind_of(number: int) -> Kind:
    """One in twenty is large, one in ten fails, one in ten prints a lot, one in fifty is stopped."""
    if number % 20 == 7:
        return Kind.LARGE
    if number % 50 == 12:
        return Kind.STOPPED
    return {3: Kind.FAILING, 5: Kind.TALKATIVE}.get(number % 10, Kind.PLAIN)


_SCRIPTS: dict[Kind, dict[str, str]] = {
    Kind.PLAIN: {"AfterInstall": "echo installed"},
    Kind.LARGE: {},
    Kind.TALKATIVE: {"AfterInstall": "exec seq -f 'line %g of a script that has a lot to say' 5000"},
    Kind.FAILING: {"ValidateService": "echo 'it does not answer' >&2; exit 7"},
    Kind.STOPPED: {"BeforeInstall": "sleep 1"},
}
_EXPECTED = {
    Kind.FAILING: types_pb2.DEPLOYMENT_STATUS_FAILED,
    Kind.STOPPED: types_pb2.DEPLOYMENT_STATUS_STOPPED,
}


class Work:
    """Carries deployments out, and counts them: `done` has how many ended in which way, rollbacks among them."""

    def __init__(self, client: Client, scratch: Path) -> None:
        self._client = client
        self._scratch = scratch
        self.done: Counter[str] = Counter()

    async def deploy(self, number: int, kind: Kind) -> None:
        """Pushes a revision of its own and deploys it; returns after its end, and after that of its rollback.

        Raises RuntimeError when a deployment does not end as it must.
        """
        revision = await self._push(number, kind)
        deployment_id = await self._order(number, revision)
        if kind is Kind.STOPPED:
            await asyncio.sleep(_STOP_AFTER_SECONDS)
            stop = deployments_pb2.StopDeploymentRequest(deployment_id=deployment_id)
            await self._client.call(self._client.deployments.StopDeployment, stop)
        ended = await self._end_of(deployment_id)
        wanted = _EXPECTED.get(kind, types_pb2.DEPLOYMENT_STATUS_SUCCEEDED)
        if ended.status != wanted:
            raise RuntimeError(f"{deployment_id} ({number}, {kind}): {ended.status} {ended.error.message}")
        self.done[kind] += 1
        if rollback := ended.rollback.rollback_deployment_id:
            back = await self._end_of(rollback)
            if back.status != types_pb2.DEPLOYMENT_STATUS_SUCCEEDED:
                raise RuntimeError(f"rollback {rollback} of {deployment_id}: {back.error.message}")
            self.done["rollback"] += 1

    async def _push(self, number: int, kind: Kind) -> types_pb2.RevisionLocation:
        source, archive = self._scratch / f"source-{number}", self._scratch / f"bundle-{number}.zip"
        files = {f"file-{n}": f"{n} of revision {number}\n" * 50 for n in range(20)}
        await asyncio.to_thread(_write, source, kind, files, f"/srv/g-{number % GROUPS}")
        bundle = await asyncio.to_thread(build_bundle, source, archive)
        shutil.rmtree(source)
        pushed = await self._client.push("app", bundle)
        archive.unlink()
        return pushed.location

    async def _order(self, number: int, revision: types_pb2.RevisionLocation) -> str:
        options = deployments_pb2.DeploymentOptions(
            application_name="app",
            deployment_group_name=f"g-{number % GROUPS}",
            revision=revision,
            deployment_config_name="CodeDeployDefault.AllAtOnce",
        )
        request = deployments_pb2.CreateDeploymentRequest(options=options)
        return (await self._client.call(self._client.deployments.CreateDeployment, request)).deployment_id

    async def _end_of(self, deployment_id: str) -> deployments_pb2.Deployment:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for change in self._client.watch(deployment_id):
                deployment = change.snapshot.deployment if change.HasField("snapshot") else change.deployment
                if deployment.status in FINAL_STATUSES:
                    return deployment
        raise RuntimeError(f"{deployment_id}: the watch ended before the deployment")


def _write(source: Path, kind: Kind, files: dict[str, str], destination: str) -> None:
    write_bundle(source, _SCRIPTS[kind], files, destination=destination)
    if kind is Kind.LARGE:
        for number in range(_LARGE_FILES):
            (source / "files" / f"large-{number}").write_bytes(os.urandom(_LARGE_FILE_BYTES))
