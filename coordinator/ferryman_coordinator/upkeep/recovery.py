"""The way back in for whoever owns the data directory, when no administrator can act any more."""

from __future__ import annotations

from pathlib import Path

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config import Config
from ferryman_coordinator.core.audit import Actor, ActorKind, Call, Place
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.resources import EVERYTHING
from ferryman_coordinator.core.roles import RoleName
from ferryman_coordinator.core.users import ADMIN, Grant, UserId
from ferryman_coordinator.data_dir import DataDirectory, database_url
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.identity.sealing import key_in
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.observe.audit import AuditLog
from ferryman_coordinator.operations.tokens import FirstAdministrator
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.identity_records import grant_row
from ferryman_coordinator.store.store import Store


async def recover_admin(config: Config, clock: Clock) -> Path:
    """Enable the first administrator, with role admin everywhere and no other one, and make it a new token.

    Returns the file with that token. The record in the audit log comes first. Raises SetupError: there is nothing to
    recover, a coordinator runs, or something cannot be written.
    """
    directory = DataDirectory(Path(config.data_dir))
    if not directory.audit_seal.exists():
        raise SetupError(
            f"no coordinator has run with {directory.root}: give its data directory (--data-dir)"
        )
    store, ids = await Store.open(database_url(config, directory)), Ids()
    try:
        place = Place(account_id=config.account.id, region=config.account.region)
        key = key_in(directory.audit_seal)
        await _record(AuditLog(store, clock, ids, place, key, directory.audit_anchor), clock.now(), ids)
        first = FirstAdministrator(store, clock, ids, lambda: None)
        if not await first.ensure(directory.keep_admin_token):
            await first.add_token(directory.keep_admin_token)
        await store.write(_restored(clock.now()))
    finally:
        await store.close()
    return directory.admin_token


def _restored(now: Instant) -> Batch:
    admin = UserId(ADMIN)
    grant = Grant(role_name=RoleName.ADMIN, resources=(EVERYTHING,), created_at=now, created_by="ferryman")
    batch = Batch()
    batch.update(tables.users, {"user_id": admin}, {"disabled_at": None})
    batch.delete(tables.grants, {"user_id": admin}, where=[tables.grants.c.role_name != RoleName.ADMIN.value])
    batch.put(tables.grants, grant_row(admin, grant))
    return batch


async def _record(audit: AuditLog, now: Instant, ids: Ids) -> None:
    actor = Actor(kind=ActorKind.UNKNOWN, name="ferryman")
    audit.note(
        Call(
            at=now,
            event_id=ids.guid(),
            request_id="",
            event="RecoverAdmin",
            actor=actor,
            source="ferryman",
            user_agent="ferryman-coordinator",
            parameters={"user": ADMIN},
        )
    )
    await audit.close()
    if audit.waiting_records:
        raise SetupError(
            "the audit log cannot be written, so nothing was changed: see to the database, then try again"
        )
