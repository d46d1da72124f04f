"""Creates a deployment and follows it: what `deploy` and `deployment retry` have in common."""

from __future__ import annotations

import uuid

from ferryman.v1 import deployments_pb2
from ferryman_client.cli import render
from ferryman_client.cli.watch import follow
from ferryman_client.cli.words import revision_label
from ferryman_client.client import Client


async def create(
    client: Client,
    options: deployments_pb2.DeploymentOptions,
    *,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Returns the exit code: that of the deployment's end when `wait` is set and JSON is not asked for.

    `timeout` in seconds ends the waiting, not the deployment. Raises ClientError.
    """
    request = deployments_pb2.CreateDeploymentRequest(options=options, request_key=str(uuid.uuid4()))
    response = await client.call(client.deployments.CreateDeployment, request)
    render.warn(response.warnings)
    if as_json:
        render.print_json(response)
        return 0
    render.say(f"deployment {response.deployment_id} of {revision_label(options.revision)} created")
    return await follow(client, response.deployment_id, timeout) if wait else 0
