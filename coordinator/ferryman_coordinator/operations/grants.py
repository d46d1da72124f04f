"""What a grant comes to: the statements of its role, on its resources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman_coordinator.core.resources import EVERYTHING
from ferryman_coordinator.core.rights import Statement
from ferryman_coordinator.core.roles import ready_made, statements_of
from ferryman_coordinator.core.users import Grant
from ferryman_coordinator.store.queries import identity as queries


async def statements_for(connection: AsyncConnection, grants: Iterable[Grant]) -> Sequence[Statement]:
    """All that the grants say. A role that is not there says nothing."""
    found: list[Statement] = []
    for grant in grants:
        origin = _origin(grant)
        found += [
            replace(one, within=grant.resources, origin=origin)
            for one in await _statements(connection, grant.role_name)
        ]
    return found


async def _statements(connection: AsyncConnection, role_name: str) -> Sequence[Statement]:
    if (name := ready_made(role_name)) is not None:
        return statements_of(name)
    role = await queries.role(connection, role_name)
    return () if role is None else role.statements


def _origin(grant: Grant) -> str:
    if EVERYTHING in grant.resources:
        return f"role {grant.role_name}"
    return f"role {grant.role_name} on {', '.join(grant.resources)}"
