"""`ferryman group delete --clean-out`: an empty revision takes the place of what the group has installed (CP-184)."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

from ferryman.v1 import deployments_pb2, inventory_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.push import packed
from ferryman_client.cli.session import EXIT_FAILED, fail
from ferryman_client.cli.watch import follow
from ferryman_client.client import Client

_APP_SPEC = "version: 0.0\nos: {os}\n"
_CONFIG = "CodeDeployDefault.AllAtOnce"


async def clean_out(client: Client, application: str, group: str) -> None:
    """Returns when every instance of the group is rid of the group's files; ends the process when one is not.

    Stop scripts of the present revision run first, and their failures are ignored. Raises ClientError.
    """
    systems = await _systems(client, application, group)
    if not systems:
        render.note(f"no instance belongs to {group} now: there is nothing to clean out")
        return
    if len(systems) > 1:
        fail(f"{group} has instances of several systems: empty it in two steps, by tags", EXIT_FAILED)
    with tempfile.TemporaryDirectory() as folder, packed(_empty(Path(folder), systems.pop())) as bundle:
        pushed = await client.push(application, bundle, f"Empty, to clean out {group}")
    options = deployments_pb2.DeploymentOptions(
        application_name=application,
        deployment_group_name=group,
        revision=pushed.location,
        deployment_config_name=_CONFIG,
        description=f"Cleans out {group} before it is deleted",
        ignore_application_stop_failures=True,
        file_exists_behavior=types_pb2.FILE_EXISTS_BEHAVIOR_OVERWRITE,
        auto_rollback=inventory_pb2.AutoRollback(enabled=False),
    )
    request = deployments_pb2.CreateDeploymentRequest(options=options, request_key=str(uuid.uuid4()))
    deployment_id = (await client.call(client.deployments.CreateDeployment, request)).deployment_id
    render.say(f"deployment {deployment_id} cleans out {group}")
    await follow(client, deployment_id, None)
    found = await client.call(
        client.deployments.GetDeployment, deployments_pb2.GetDeploymentRequest(deployment_id=deployment_id)
    )
    overview = found.deployment.overview
    left = overview.failed + overview.skipped + overview.pending + overview.in_progress
    if left or found.deployment.status != types_pb2.DEPLOYMENT_STATUS_SUCCEEDED:
        fail(
            f"{group} was not deleted: {left} instances still have its files; see `ferryman deployment show"
            f" {deployment_id}`, then try again, or delete it without --clean-out",
            EXIT_FAILED,
        )


def _empty(folder: Path, system: str) -> Path:
    """Writes a revision of no files: what the agent installed before goes when it is deployed."""
    (folder / "appspec.yml").write_text(_APP_SPEC.format(os=system))
    return folder


async def _systems(client: Client, application: str, group: str) -> set[str]:
    """What AppSpec files call the systems of the group's instances."""
    request = inventory_pb2.ListMatchingInstancesRequest(
        application_name=application, deployment_group_name=group
    )
    pages = every_page(lambda page: client.call(client.inventory.ListMatchingInstances, page), request)
    return {
        "windows" if "windows" in one.facts.os.lower() else "linux"
        async for page in pages
        for one in page.instances
    }
