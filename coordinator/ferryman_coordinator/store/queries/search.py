"""Finds what has a text in its name, in whatever case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.store.tables import (
    applications,
    deployment_configs,
    deployment_groups,
    deployments,
    instances,
    revisions,
)


class Kind(StrEnum):
    """Of what is found."""

    APPLICATION = "application"
    GROUP = "deployment-group"
    CONFIG = "deployment-config"
    INSTANCE = "instance"
    REVISION = "revision"
    DEPLOYMENT = "deployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """`name` is how commands call it; the two others say where it belongs, where it belongs to one."""

    kind: Kind
    name: str
    application_name: str = ""
    group_name: str = ""
    arn: str = ""


async def search(connection: AsyncConnection, text: str, limit: int) -> Sequence[Hit]:
    """Of each kind the first `limit` by name (deployments and revisions: the newest first)."""
    found: list[Hit] = []
    for kind, query in _queries(text).items():
        rows = await connection.execute(query.limit(limit))
        found += [
            Hit(
                kind=kind,
                name=row.name,
                application_name=row.application_name,
                group_name=row.group_name,
                arn=row.arn,
            )
            for row in rows
        ]
    return found


def _queries(text: str) -> dict[Kind, sa.Select[Any]]:
    def holds(column: Any) -> sa.ColumnElement[bool]:
        return sa.func.lower(column).contains(text.lower(), autoescape=True)

    def columns(name: Any, application: Any = "", group: Any = "", arn: Any = "") -> sa.Select[Any]:
        given = {"name": name, "application_name": application, "group_name": group, "arn": arn}
        return sa.select(
            *(
                (sa.literal(value) if isinstance(value, str) else value).label(label)
                for label, value in given.items()
            )
        )

    in_application = applications.c.application_id
    return {
        Kind.APPLICATION: columns(applications.c.name)
        .where(holds(applications.c.name))
        .order_by(applications.c.name),
        Kind.GROUP: columns(deployment_groups.c.name, applications.c.name)
        .join_from(deployment_groups, applications, in_application == deployment_groups.c.application_id)
        .where(holds(deployment_groups.c.name))
        .order_by(applications.c.name, deployment_groups.c.name),
        Kind.CONFIG: columns(deployment_configs.c.name)
        .where(holds(deployment_configs.c.name))
        .order_by(deployment_configs.c.name),
        Kind.INSTANCE: columns(instances.c.name, arn=instances.c.arn)
        .where(
            instances.c.deregistered_at.is_(None), holds(instances.c.name) | holds(instances.c.instance_id)
        )
        .order_by(instances.c.name),
        Kind.REVISION: columns(revisions.c.revision_key, applications.c.name)
        .join_from(revisions, applications, in_application == revisions.c.application_id)
        .where(holds(revisions.c.revision_key) | holds(revisions.c.description))
        .order_by(revisions.c.registered_at.desc(), revisions.c.revision_key),
        Kind.DEPLOYMENT: columns(
            deployments.c.deployment_id,
            sa.func.coalesce(applications.c.name, deployments.c.application_name),
            sa.func.coalesce(deployment_groups.c.name, deployments.c.group_name),
        )
        .select_from(deployments)
        .outerjoin(applications, in_application == deployments.c.application_id)
        .outerjoin(deployment_groups, deployment_groups.c.group_id == deployments.c.group_id)
        .where(holds(deployments.c.deployment_id) | holds(deployments.c.description))
        .order_by(deployments.c.created_at.desc(), deployments.c.deployment_id),
    }
