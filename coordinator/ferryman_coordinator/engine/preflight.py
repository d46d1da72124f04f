"""What a deployment is checked against just before its first target (CP-228), read at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.failure import APPLICATION_MISSING, DEPLOYMENT_GROUP_MISSING
from ferryman_coordinator.core.inventory import Deployment, DeploymentGroup
from ferryman_coordinator.core.membership import Membership
from ferryman_coordinator.core.model import Creator, ErrorInformation, Member, RolloutSpec
from ferryman_coordinator.store.queries import applications, groups, revisions, scaling

REVISION_MISSING = "REVISION_MISSING"


@dataclass(frozen=True, slots=True)
class Cleared:
    """Everything is there: these are the group's members now, frozen for the deployment (CP-052)."""

    members: Sequence[Member]


async def preflight(connection: AsyncConnection, deployment: Deployment) -> Cleared | ErrorInformation:
    """The group's members, or what the deployment fails with before it has touched anything."""
    group = await groups.get(connection, deployment.group_id)
    if group is None:
        return await _missing_group(connection, deployment)
    revision = deployment.spec.revision
    installs = deployment.spec.creator is not Creator.AUTO_SCALING_TERMINATION
    if installs and await revisions.get(connection, deployment.application_id, revision.key) is None:
        return ErrorInformation(
            code=REVISION_MISSING,
            message=(
                f"Revision {revision.key} is no longer registered with {deployment.application_name}."
                " Next: register it again, then deploy."
            ),
        )
    return Cleared(await members_for(connection, group, deployment.spec))


async def members_for(
    connection: AsyncConnection, group: DeploymentGroup, spec: RolloutSpec
) -> Sequence[Member]:
    """The members of `group` as a deployment with that snapshot would find them (CP-179, CP-219, CP-302)."""
    if spec.only_instance:
        return await scaling.member(connection, group, spec.only_instance)
    outdated_for = spec.revision.key if spec.update_outdated_instances_only else None
    membership = Membership.of_snapshot(spec)
    return await groups.members(connection, group, membership=membership, outdated_for=outdated_for)


async def _missing_group(connection: AsyncConnection, deployment: Deployment) -> ErrorInformation:
    if await applications.find(connection, deployment.application_name) is None:
        return ErrorInformation(
            code=APPLICATION_MISSING,
            message=f"Application {deployment.application_name} was deleted before the deployment started.",
        )
    return ErrorInformation(
        code=DEPLOYMENT_GROUP_MISSING,
        message=(
            f"Deployment group {deployment.group_name} of {deployment.application_name} was deleted"
            " before the deployment started."
        ),
    )
