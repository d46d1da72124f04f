"""Users, and which roles they are granted on what (PF-231, CP-438)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.resources import EVERYTHING, NotAPattern, parse_pattern
from ferryman_coordinator.core.roles import RoleName, ready_made
from ferryman_coordinator.core.users import ADMIN, Grant, User, UserId, UserKind
from ferryman_coordinator.errors import Conflict, ConstraintBroken, Invalid, NotFound
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.access import Forget
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.identity_records import grant_row, user_row
from ferryman_coordinator.store.queries import identity as queries
from ferryman_coordinator.store.store import Store

USER = names.NameRule("user name", "UserNameRequiredException", "InvalidUserNameException")

_LAST_ADMINISTRATOR = "last-administrator"
_NAME_TAKEN = "uq_users_name"
_MOST_PATTERNS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUser:
    user: User
    grants: tuple[Grant, ...]


class Users:
    """What can be asked about them. `by` is the name of whoever asks."""

    def __init__(
        self, store: Store, clock: Clock, ids: Ids, limits: Limits, account: Account, forget: Forget
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._account = account
        self._forget = forget

    async def create(self, name: str, kind: UserKind, description: str, by: str) -> User:
        """A user without any right. Raises Invalid, Conflict (UserAlreadyExistsException)."""
        USER.check(name, self._limits)
        user = User(
            user_id=UserId(self._ids.guid()),
            name=name,
            kind=kind,
            description=names.check_description(description),
            created_at=self._clock.now(),
            created_by=by,
        )
        batch = Batch()
        batch.insert(tables.users, user_row(user))
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            if broken.name != _NAME_TAKEN:
                raise
            raise Conflict("UserAlreadyExistsException", f"there is a user {name!r} already") from broken
        return user

    async def find(self, name: str) -> User:
        """Raises Invalid, NotFound (UserDoesNotExistException)."""
        USER.check(name, self._limits)
        async with self._store.reading() as connection:
            found = await queries.user(connection, name)
        if found is None:
            raise NotFound(
                "UserDoesNotExistException",
                f"there is no user {names.shown(name)}; `ferryman user list` shows those that there are",
            )
        return found

    async def get(self, name: str) -> KnownUser:
        """With what was granted. Raises what `find` raises."""
        user = await self.find(name)
        (known,) = await self._known([user])
        return known

    async def list(self, request: PageRequest) -> Page[KnownUser]:
        """In the order of their names. Raises Invalid for a bad page."""

        async def fetch(after: Key | None, limit: int) -> Sequence[KnownUser]:
            async with self._store.reading() as connection:
                found = await queries.users_after(connection, after or (), limit)
            return await self._known(found)

        return await self._store.cursors.page(["users"], request, fetch, lambda one: (one.user.name,))

    async def update(
        self, name: str, *, description: str | None = None, is_enabled: bool | None = None
    ) -> User:
        """Changes what is given. Raises what `find` raises, and Conflict (LastAdministratorException)."""
        user = await self.find(name)
        batch = Batch()
        if description is not None:
            user = replace(user, description=names.check_description(description))
        if is_enabled is not None and is_enabled is not user.is_enabled:
            if not is_enabled:
                self._keep_an_administrator(batch, user.user_id)
            user = replace(user, disabled_at=None if is_enabled else self._clock.now())
        values = {"description": user.description, "disabled_at": user.disabled_at}
        batch.update(tables.users, {"user_id": user.user_id}, values)
        await self._write(batch, name)
        return user

    async def delete(self, name: str) -> None:
        """With all credentials. Raises what `find` raises, Conflict (LastAdministratorException).

        The first administrator can only be disabled: it would be made again by the next start.
        """
        user = await self.find(name)
        if user.user_id == ADMIN:
            raise Conflict(
                "BootstrapUserException",
                f"{ADMIN} cannot be deleted: the next start would make it anew; disable it instead",
            )
        batch = Batch()
        self._keep_an_administrator(batch, user.user_id)
        batch.delete(tables.access_tokens, {"user_id": user.user_id})
        batch.delete(tables.users, {"user_id": user.user_id})
        await self._write(batch, name)

    async def grant(self, name: str, role_name: str, resources: Sequence[str], by: str) -> KnownUser:
        """The role on these resources, in place of those that it was granted on before; none stand for all.

        Raises what `find` raises, NotFound (RoleDoesNotExistException), Conflict (LastAdministratorException).
        """
        user = await self.find(name)
        await self._check_role(role_name)
        grant = Grant(
            role_name=role_name,
            resources=self._patterns(resources),
            created_at=self._clock.now(),
            created_by=by,
        )
        batch = Batch()
        if role_name == RoleName.ADMIN and not grant.is_everywhere:
            self._keep_an_administrator(batch, user.user_id)
        batch.put(tables.grants, grant_row(user.user_id, grant))
        await self._write(batch, name)
        return await self.get(name)

    async def revoke(self, name: str, role_name: str) -> KnownUser:
        """Takes a role away; one that was not granted is no mistake. Raises what `find` raises, Conflict."""
        user = await self.find(name)
        batch = Batch()
        if role_name == RoleName.ADMIN:
            self._keep_an_administrator(batch, user.user_id)
        batch.delete(tables.grants, {"user_id": user.user_id, "role_name": role_name})
        await self._write(batch, name)
        return await self.get(name)

    async def _known(self, found: Sequence[User]) -> Sequence[KnownUser]:
        async with self._store.reading() as connection:
            granted = await queries.grants_of(connection, [user.user_id for user in found])
        return [KnownUser(user=user, grants=tuple(granted.get(user.user_id, ()))) for user in found]

    async def _check_role(self, role_name: str) -> None:
        if ready_made(role_name) is not None:
            return
        async with self._store.reading() as connection:
            if await queries.role(connection, role_name) is None:
                raise no_role(role_name)

    def _patterns(self, texts: Sequence[str]) -> tuple[str, ...]:
        if len(texts) > _MOST_PATTERNS:
            raise Invalid(
                "InvalidResourceException",
                f"a grant is on at most {_MOST_PATTERNS} resources, not {len(texts)}",
            )
        try:
            parsed = [parse_pattern(text, self._account.region, self._account.account_id) for text in texts]
        except NotAPattern as problem:
            raise Invalid("InvalidResourceException", str(problem)) from problem
        if EVERYTHING in parsed or not parsed:
            return (EVERYTHING,)
        return tuple(sorted(set(parsed)))

    def _keep_an_administrator(self, batch: Batch, but: UserId) -> None:
        """Nobody locks everybody out."""
        batch.ensure(_LAST_ADMINISTRATOR, queries.has_another_administrator(but))

    async def _write(self, batch: Batch, name: str) -> None:
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            if broken.name != _LAST_ADMINISTRATOR:
                raise
            raise Conflict(
                "LastAdministratorException",
                f"without {name!r} nobody could administer Ferryman any more: grant role admin to somebody else first",
            ) from broken
        finally:
            self._forget()


def no_role(name: str) -> NotFound:
    return NotFound(
        "RoleDoesNotExistException",
        f"there is no role {names.shown(name)} that can be granted: `ferryman role list` shows them",
    )
