"""Roles that are made here: named lists of statements. The ready-made ones are seen beside them, and cannot change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.resources import NotAPattern, parse_pattern
from ferryman_coordinator.core.rights import Statement, check_action_pattern, check_conditions
from ferryman_coordinator.core.roles import DESCRIPTIONS, GRANTABLE, RoleName, ready_made, statements_of
from ferryman_coordinator.core.users import Role
from ferryman_coordinator.errors import Conflict, ConstraintBroken, Invalid, NotFound
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.access import Forget
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.users import no_role
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.identity_records import role_row
from ferryman_coordinator.store.queries import identity as queries
from ferryman_coordinator.store.store import Store

ROLE = names.NameRule("role name", "RoleNameRequiredException", "InvalidRoleNameException")

_MOST_STATEMENTS = 50
_MOST_PATTERNS = 100
_IN_USE = "role-in-use"


class Roles:
    """What can be asked about them."""

    def __init__(self, store: Store, clock: Clock, limits: Limits, account: Account, forget: Forget) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._account = account
        self._forget = forget

    async def get(self, name: str) -> Role:
        """Raises Invalid, NotFound (RoleDoesNotExistException)."""
        ROLE.check(name, self._limits)
        if (known := ready_made(name)) is not None:
            return _ready_made(known)
        async with self._store.reading() as connection:
            found = await queries.role(connection, name)
        if found is None:
            raise no_role(name)
        return found

    async def list(self) -> Sequence[Role]:
        """The ready-made ones first."""
        async with self._store.reading() as connection:
            made_here = await queries.all_roles(connection)
        return [*(_ready_made(name) for name in GRANTABLE), *made_here]

    async def put(self, name: str, description: str, statements: Sequence[Statement]) -> Role:
        """Makes a role, or gives one other statements: whoever has it has those from then on.

        Raises Invalid, Conflict (RoleIsReadyMadeException).
        """
        ROLE.check(name, self._limits)
        _refuse_ready_made(name)
        now = self._clock.now()
        try:
            before: Role | None = await self.get(name)
        except NotFound:
            before = None
        role = Role(
            name=name,
            description=names.check_description(description),
            statements=self._checked(statements),
            created_at=now if before is None else before.created_at,
            updated_at=now,
        )
        batch = Batch()
        batch.put(tables.roles, role_row(role))
        await self._store.write(batch)
        self._forget()
        return role

    async def delete(self, name: str) -> None:
        """One that is not there is no mistake.

        Raises Invalid, Conflict (RoleIsReadyMadeException, RoleInUseException).
        """
        ROLE.check(name, self._limits)
        _refuse_ready_made(name)
        batch = Batch()
        batch.ensure(_IN_USE, ~queries.is_granted(name))
        batch.delete(tables.roles, {"name": name})
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            if broken.name != _IN_USE:
                raise
            async with self._store.reading() as connection:
                holders = ", ".join(await queries.holders(connection, name))
            raise Conflict(
                "RoleInUseException", f"role {name!r} is granted to {holders}: take it away from them first"
            ) from broken
        finally:
            self._forget()

    def _checked(self, statements: Sequence[Statement]) -> tuple[Statement, ...]:
        if not 1 <= len(statements) <= _MOST_STATEMENTS:
            raise _invalid(f"a role has 1 to {_MOST_STATEMENTS} statements, not {len(statements)}")
        return tuple(
            self._checked_one(number, statement) for number, statement in enumerate(statements, start=1)
        )

    def _checked_one(self, number: int, statement: Statement) -> Statement:
        where = f"statement {number}"
        for what, patterns in (("actions", statement.actions), ("resources", statement.resources)):
            if not 1 <= len(patterns) <= _MOST_PATTERNS:
                raise _invalid(f"{where} names {len(patterns)} {what}: 1 to {_MOST_PATTERNS} are allowed")
        try:
            return replace(
                statement,
                actions=tuple(check_action_pattern(text) for text in statement.actions),
                resources=tuple(
                    parse_pattern(text, self._account.region, self._account.account_id)
                    for text in statement.resources
                ),
                conditions=check_conditions(statement.conditions),
            )
        except NotAPattern as problem:
            raise _invalid(f"{where}: {problem}") from problem


def _ready_made(name: RoleName) -> Role:
    return Role(
        name=name,
        description=DESCRIPTIONS[name],
        statements=statements_of(name),
        created_at=Instant(0),
        updated_at=Instant(0),
        is_ready_made=True,
    )


def _refuse_ready_made(name: str) -> None:
    if name in list(RoleName):
        raise Conflict(
            "RoleIsReadyMadeException",
            f"role {name!r} comes with Ferryman and cannot change: take another name",
        )


def _invalid(message: str) -> Invalid:
    return Invalid("InvalidRoleException", message)
