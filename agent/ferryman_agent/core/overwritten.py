"""Which originals of overwritten files come back, and which are settled (AG-328, CP-347).

With OVERWRITE, or by adopting, a deployment replaces files that the group did not install. Their originals are kept, so
that a rollback can put them back. Once the deployment has succeeded they are settled: the file is the group's from then
on (AG-167).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from ferryman_agent.core.lifecycle import ROLLBACK_CREATOR
from ferryman_agent.core.messages import DeploymentDescription


class Original(NamedTuple):
    """One kept original.

    path: where it was. deployment: the last deployment that had its own file there. kept: where it is, relative to the
    group's folder: `<deployment>/overwritten/<number>`. size: bytes. group: whose file it was, "" for nobody's.
    """

    path: str
    deployment: str
    kept: str
    size: int = 0
    group: str = ""


def still_counting(
    originals: Iterable[Original], deployment: DeploymentDescription, journal: Collection[str]
) -> tuple[Original, ...]:
    """Returns the originals that are not settled: of places that are the group's, by deployments that had no success.

    `journal` has the paths that are the group's.
    """
    settled = deployment.last_successful_deployment_id
    return tuple(
        one for one in originals if one.path in journal and (not settled or one.deployment != settled)
    )


def coming_back(originals: Iterable[Original], deployment: DeploymentDescription) -> tuple[Original, ...]:
    """Returns the originals that a deployment puts back where it has no file of its own, or is told to RETAIN.

    Those are all for an automatic rollback, and for others those of the attempt just before, which then has failed.
    """
    if deployment.deployment_creator == ROLLBACK_CREATOR:
        return tuple(originals)
    before = deployment.most_recent_deployment_id
    return tuple(one for one in originals if before and one.deployment == before)
