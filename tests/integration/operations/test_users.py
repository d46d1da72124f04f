"""Users, roles and credentials on both databases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core import resources
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.rights import Circumstances, Conditions, Effect, Scope, Statement
from ferryman_coordinator.core.users import CredentialKind, KeyStatus, UserKind
from ferryman_coordinator.errors import (
    Conflict,
    Denied,
    Invalid,
    LimitExceeded,
    NotFound,
    Refused,
    SetupError,
)
from ferryman_coordinator.identity.sealing import Seal
from ferryman_coordinator.operations.access import Admitted
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.credentials import Credentials
from ferryman_coordinator.operations.roles import Roles
from ferryman_coordinator.operations.users import Users
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.cursors import PageRequest
from tests.support.desk import Desk

ACCOUNT = Account(account_id="123456789012", region="eu-1")
DEPLOY = "codedeploy:CreateDeployment"
PROD = resources.group("web", "prod")


class People:
    """The operations, on a desk."""

    def __init__(self, desk: Desk) -> None:
        forget = desk.access.forget
        self.desk = desk
        self.access = desk.access
        self.users = Users(desk.store, desk.clock, desk.ids, desk.limits, ACCOUNT, forget)
        self.roles = Roles(desk.store, desk.clock, desk.limits, ACCOUNT, forget)
        self.seal = Seal(b"s" * 32)
        self.credentials = Credentials(
            desk.store, desk.clock, desk.ids, self.users, desk.access, self.seal, ACCOUNT
        )

    async def ann(self, *roles: str) -> str:
        """Text of a token of a new user."""
        await self.users.create("ann", UserKind.PERSON, "", "admin")
        for role in roles:
            await self.users.grant("ann", role, (), "admin")
        return (await self.credentials.create_token("ann"))[0]

    async def admitted(self, text: str) -> Admitted:
        found = await self.access.authenticate(text, "10.0.0.1")
        assert found is not None
        return found

    async def may(self, text: str, action: str = DEPLOY, on: resources.Resource = PROD) -> bool:
        now = Circumstances(source="10.0.0.1", at=self.desk.clock.now())
        return (await self.admitted(text)).rights.decide(action, on, now).is_allowed


@pytest.fixture
async def people(desk: Desk) -> People:
    await desk.first_administrator.ensure(lambda _text: None)
    return People(desk)


async def reason_of(call: Awaitable[object], kind: type[Refused]) -> str:
    with pytest.raises(kind) as refused:
        await call
    return refused.value.reason


async def test_a_user_may_what_was_granted_until_it_is_taken_away(people: People) -> None:
    text = await people.ann()
    assert not await people.may(text)
    await people.users.grant("ann", "deployer", ["application:web", "deploymentgroup:web/*"], "admin")
    assert await people.may(text)
    assert not await people.may(text, DEPLOY, resources.group("shop", "prod"))
    # In place of what was granted before.
    await people.users.grant("ann", "deployer", ["deploymentgroup:shop/*"], "admin")
    assert not await people.may(text)
    known = await people.users.grant("ann", "viewer", (), "admin")
    assert [(one.role_name, one.resources) for one in known.grants] == [
        ("deployer", ("deploymentgroup:shop/*",)),
        ("viewer", ("*",)),
    ]
    await people.users.revoke("ann", "viewer")
    await people.users.revoke("ann", "viewer")
    assert not await people.may(text, "codedeploy:GetDeployment")


async def test_a_disabled_user_is_let_in_by_nothing(people: People) -> None:
    text = await people.ann("deployer")
    await people.users.update("ann", is_enabled=False)
    assert await people.access.authenticate(text) is None
    await people.users.update("ann", is_enabled=True)
    assert await people.may(text)


async def test_a_deleted_user_leaves_nothing_to_a_namesake(people: People) -> None:
    text = await people.ann("admin")
    key = await people.credentials.create_key("ann")
    await people.users.delete("ann")
    assert await people.access.authenticate(text) is None
    assert await people.access.by_access_key(key.access_key_id) is None
    await people.users.create("ann", UserKind.PERSON, "", "admin")
    assert await people.access.authenticate(text) is None
    assert (await people.users.get("ann")).grants == ()


async def test_somebody_stays_administrator(people: People) -> None:
    last: list[Callable[[], Awaitable[object]]] = [
        lambda: people.users.update("admin", is_enabled=False),
        lambda: people.users.revoke("admin", "admin"),
        lambda: people.users.grant("admin", "admin", ["application:web"], "admin"),
    ]
    for attempt in last:
        assert await reason_of(attempt(), Conflict) == "LastAdministratorException"
    await people.ann("admin")
    assert await reason_of(people.users.delete("admin"), Conflict) == "BootstrapUserException"
    await people.users.update("admin", is_enabled=False)
    assert await people.desk.first_administrator.is_disabled()
    assert await reason_of(people.users.delete("ann"), Conflict) == "LastAdministratorException"


async def test_what_is_no_user_or_grant_is_refused(people: People) -> None:
    users = people.users
    await people.ann()
    assert (
        await reason_of(users.create("ann", UserKind.PERSON, "", ""), Conflict)
        == "UserAlreadyExistsException"
    )
    assert await reason_of(users.create("", UserKind.PERSON, "", ""), Invalid) == "UserNameRequiredException"
    assert (
        await reason_of(users.create("a/b", UserKind.PERSON, "", ""), Invalid) == "InvalidUserNameException"
    )
    assert await reason_of(users.get("ghost"), NotFound) == "UserDoesNotExistException"
    for role in ("ghost", "agent"):
        assert await reason_of(users.grant("ann", role, (), ""), NotFound) == "RoleDoesNotExistException"
    for resource in ("nonsense", "arn:aws:codedeploy:*:123456789012:application:web"):
        refused = users.grant("ann", "viewer", [resource], "")
        assert await reason_of(refused, Invalid) == "InvalidResourceException"


async def test_users_are_listed_by_name(people: People) -> None:
    for name in ("zoe", "bob"):
        await people.users.create(name, UserKind.SERVICE, f"is {name}", "admin")
    first = await people.users.list(PageRequest(size=2))
    second = await people.users.list(PageRequest(size=2, token=first.next_token))
    assert [one.user.name for one in (*first.items, *second.items)] == ["admin", "bob", "zoe"]


@pytest.mark.req("PF-236", "PF-231")
async def test_a_role_made_here_has_statements_with_conditions(people: People) -> None:
    text = await people.ann("admin")
    night = Conditions(sources=("10.0.0.0/8",), not_after=Instant(people.desk.clock.now() + 1000))
    await people.roles.put(
        "freeze",
        "no deployments",
        [
            Statement(
                effect=Effect.DENY,
                actions=("codedeploy:Create*",),
                resources=("arn:aws:codedeploy:eu-1:123456789012:deploymentgroup:*/prod",),
                conditions=night,
            )
        ],
    )
    await people.users.grant("ann", "freeze", (), "admin")
    assert not await people.may(text)
    assert await people.may(text, DEPLOY, resources.group("web", "test"))
    people.desk.clock.advance(1000)
    assert await people.may(text)
    stored = await people.roles.get("freeze")
    assert stored.statements[0].conditions == night
    assert [one.name for one in await people.roles.list()][-1] == "freeze"
    in_use = people.roles.delete("freeze")
    assert await reason_of(in_use, Conflict) == "RoleInUseException"
    await people.users.revoke("ann", "freeze")
    await people.roles.delete("freeze")
    await people.roles.delete("freeze")
    assert await reason_of(people.roles.get("freeze"), NotFound) == "RoleDoesNotExistException"


async def test_roles_that_make_no_sense_are_refused(people: People) -> None:
    def statement(**fields: object) -> Statement:
        made: dict[str, object] = {"effect": Effect.ALLOW, "actions": ("codedeploy:*",)}
        return Statement(**(made | fields))  # type: ignore[arg-type]  # as the test says

    for statements in (
        [],
        [statement()] * 51,
        [statement(actions=())],
        [statement(actions=("s3:*",))],
        [statement(resources=("nonsense",))],
        [statement(conditions=Conditions(sources=("nowhere",)))],
    ):
        assert await reason_of(people.roles.put("x", "", statements), Invalid) == "InvalidRoleException"
    for name in ("admin", "agent"):
        refused = people.roles.put(name, "", [statement()])
        assert await reason_of(refused, Conflict) == "RoleIsReadyMadeException"


@pytest.mark.req("PF-242")
async def test_tokens_expire_are_limited_and_can_be_revoked(people: People) -> None:
    await people.ann("deployer")
    scope = Scope(resources=("deploymentgroup:web/*",))
    text, token = await people.credentials.create_token("ann", name="ci", ttl_seconds=60, scope=scope)
    assert await people.may(text)
    assert not await people.may(text, DEPLOY, resources.group("shop", "prod"))
    people.desk.clock.advance(59_999)
    assert await people.access.authenticate(text) is not None
    people.desk.clock.advance(1)
    assert await people.access.authenticate(text) is None
    hour, other = await people.credentials.create_token("ann")
    assert other.expires_at == people.desk.clock.now() + 3_600_000
    await people.credentials.revoke_token(other.token_id)
    await people.credentials.revoke_token("nothing")
    assert await people.access.authenticate(hour) is None
    for seconds in (-1, 367 * 86_400):
        made = people.credentials.create_token("ann", ttl_seconds=seconds)
        assert await reason_of(made, Invalid) == "InvalidInputException"
    listed = (await people.credentials.list_tokens("ann", PageRequest())).items
    assert [one.token.revoked_at is not None for one in listed] == [True, False, False]
    assert listed[1].token == await stored(people, token.token_id, text)


async def stored(people: People, token_id: str, text: str) -> object:
    """That token, as a list shows it; and nothing of its text is in the database."""
    for one in (await people.credentials.list_tokens("", PageRequest())).items:
        if one.token.token_id == token_id:
            async with people.desk.store.reading() as connection:
                rows = (await connection.execute(sa.select(tables.access_tokens))).all()
            secret = text.rpartition("-")[2]
            assert not [value for row in rows for value in row if secret in str(value)]
            return one.token
    raise AssertionError


@pytest.mark.req("PF-242")
async def test_when_a_credential_was_used_last_is_shown_at_once_and_written_later(people: People) -> None:
    text = await people.ann()
    (before,) = (await people.credentials.list_tokens("ann", PageRequest())).items
    assert before.token.last_used_at is None
    writes = people.desk.store.statistics.batches
    for _ in range(10):
        people.desk.clock.advance(10)
        await people.admitted(text)
    assert people.desk.store.statistics.batches == writes
    (shown,) = (await people.credentials.list_tokens("ann", PageRequest())).items
    assert (shown.token.last_used_at, shown.token.last_used_from) == (people.desk.clock.now(), "10.0.0.1")
    await people.access.keep_uses()
    assert people.access.last_use(CredentialKind.TOKEN, shown.token.token_id) is None
    (kept,) = (await people.credentials.list_tokens("ann", PageRequest())).items
    assert kept == shown


async def test_access_keys_are_sealed_and_can_be_taken_out_of_use(people: People) -> None:
    await people.ann("deployer")
    made = await people.credentials.create_key("ann")
    assert made.access_key_id.startswith("FKIA")
    assert len(made.access_key_id) == 20
    holder = await people.access.by_access_key(made.access_key_id, "10.0.0.1")
    assert holder is not None
    assert holder.admitted.caller.name == "ann"
    assert made.secret not in holder.sealed_secret
    assert people.credentials.secret_of(made.access_key_id, holder.sealed_secret) == made.secret
    with pytest.raises(SetupError, match="cannot unseal"):
        Seal(b"x" * 32).reveal(holder.sealed_secret, made.access_key_id)
    with pytest.raises(SetupError, match="cannot unseal"):
        people.seal.reveal(holder.sealed_secret, "FKIAANOTHER")
    await people.credentials.set_status(made.access_key_id, KeyStatus.INACTIVE)
    assert await people.access.by_access_key(made.access_key_id) is None
    await people.credentials.set_status(made.access_key_id, KeyStatus.ACTIVE)
    await people.credentials.create_key("ann")
    third = people.credentials.create_key("ann")
    assert await reason_of(third, LimitExceeded) == "AccessKeyLimitExceededException"
    assert len(await people.credentials.list_keys("ann")) == 2
    await people.credentials.delete_key(made.access_key_id)
    assert await people.access.by_access_key(made.access_key_id) is None
    gone = people.credentials.set_status(made.access_key_id, KeyStatus.ACTIVE)
    assert await reason_of(gone, NotFound) == "AccessKeyDoesNotExistException"


@pytest.mark.req("CP-440", "PF-242")
async def test_a_session_is_good_for_a_while_and_no_longer_than_its_parent(people: People) -> None:
    text = await people.ann("deployer")
    parent = await people.admitted(text)
    scope = parent.rights.scope
    session = await people.credentials.create_session(
        parent.caller, parent.good_until, scope, ttl_seconds=36 * 3600
    )
    assert session.expires_at == parent.good_until
    assert await people.may(session.session_token)
    holder = await people.access.by_access_key(session.access_key_id)
    assert holder is not None
    assert holder.is_temporary
    inside = await people.admitted(session.session_token)
    assert (inside.caller.credential_kind, inside.caller.issuer_id) == (
        CredentialKind.SESSION,
        parent.caller.credential_id,
    )
    again = people.credentials.create_session(inside.caller, inside.good_until, scope)
    assert await reason_of(again, Denied) == "AccessDeniedException"
    # It shows in no list of lasting keys, and ends with its parent.
    assert await people.credentials.list_keys("ann") == []
    await people.credentials.revoke_token(parent.caller.credential_id)
    assert await people.access.authenticate(session.session_token) is None
    assert await people.access.by_access_key(session.access_key_id) is None


async def test_credentials_of_long_ago_are_forgotten(people: People) -> None:
    text = await people.ann()
    parent = await people.admitted(text)
    await people.credentials.create_session(parent.caller, None, parent.rights.scope)
    people.desk.clock.advance(91 * 86_400_000)
    await people.access.prune()
    assert (await people.credentials.list_tokens("ann", PageRequest())).items == ()
    # That of the first start has no end.
    assert len((await people.credentials.list_tokens("admin", PageRequest())).items) == 1


def test_the_sealing_key_is_made_once(tmp_path: Path) -> None:
    first = Seal.open(tmp_path / "key")
    sealed = first.close("secret", "id")
    assert Seal.open(tmp_path / "key").reveal(sealed, "id") == "secret"
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(SetupError, match="damaged"):
        Seal.open(tmp_path / "key")
