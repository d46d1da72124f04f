"""The life of a coordinator: from the lock on its data directory to the ready line, and in order to its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
import structlog

from ferryman_coordinator.app import App, Ready
from ferryman_coordinator.config import Config
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.data_dir import DataDirectory, database_url
from ferryman_coordinator.errors import SetupError, StoreUnavailable
from ferryman_coordinator.identity.sealing import key_in
from ferryman_coordinator.observe.audit import read_anchor
from ferryman_coordinator.observe.audit_check import AuditCheck, verify, verify_file
from ferryman_coordinator.store.store import Store

log = structlog.get_logger(__name__)

_RENEWAL_CHECK_MS = 10 * 60_000
_GRACE_S = 10.0
"""How long calls that run may take to their end when the coordinator ends."""
_DRAIN_S = 2.0
"""How long agents have to hear that they shall come back later."""


_COLLECT_AFTER = (50_000, 20, 50)
"""Python's default of 700 objects has a busy coordinator look for cycles a thousand times a second: a third of its
processor time with 1,000 agents reporting at once. Cycles are rare here; what there is still goes."""


def _calm_collector() -> None:
    """Leaves out what lives as long as the process, and looks for cycles more rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


class Coordinator:
    """Made by `open`; `run` is its life."""

    def __init__(self, config: Config, directory: DataDirectory, store: Store) -> None:
        """Raises SetupError."""
        self._config = config
        self._directory = directory
        self._app = App(config, directory, store)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config) -> AsyncIterator[Coordinator]:
        """Opens the data directory and everything in it; closes it in the end. Raises SetupError."""
        directory = DataDirectory(Path(config.data_dir))
        directory.make()
        # First, since it locks the directory: a second coordinator must not touch anything in it.
        store = await Store.open(database_url(config, directory))
        try:
            yield cls(config, directory, store)
        finally:
            await store.close()

    async def run(self, announce: Callable[[Ready], None], stop: asyncio.Event) -> None:
        """Opens the doors, says so, and closes them again after `stop`. Raises SetupError when a door cannot open."""
        await self._ensure_admin_token()
        await self._app.prepare_sources()
        ready = self._app.listen()
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._app.links.run()),
                    tasks.create_task(self._app.engine.run()),
                    tasks.create_task(self._renew_certificate()),
                    tasks.create_task(self._app.watch_authority()),
                    tasks.create_task(self._app.notices.run()),
                    tasks.create_task(self._app.history.run()),
                    tasks.create_task(self._app.drift.run()),
                    tasks.create_task(self._app.hooks.run()),
                    tasks.create_task(self._app.s3.run()),
                    tasks.create_task(self._app.access.run()),
                    tasks.create_task(self._app.audit_trail.run()),
                ]
                if self._app.audit_file is not None:
                    background.append(tasks.create_task(self._app.audit_file.run()))
                audit = tasks.create_task(self._app.audit.run())
                await self._app.engine.ready()
                await self._app.grpc.start()
                http = tasks.create_task(self._app.http.run())
                await self._app.grpc.is_ready()
                _calm_collector()
                self._app.is_ready = True
                announce(ready)
                log.info(
                    "coordinator.ready", grpc=str(ready.grpc), agents=str(ready.agents), http=ready.http_url
                )
                await stop.wait()
                await self._end(background, http, audit)
        except ExceptionGroup as several:
            raise several.exceptions[0] from several

    async def _ensure_admin_token(self) -> None:
        first, directory = self._app.first_administrator, self._directory
        if await first.ensure(directory.keep_admin_token) or await first.is_disabled():
            return
        text = directory.read_admin_token()
        if text is not None and await self._app.access.authenticate(text) is not None:
            return
        why = "it is missing" if text is None else "it holds no token that is known here"
        if self._config.database.url:
            # With a database elsewhere, the file may lie with the coordinator that was the first to use it.
            log.warning("coordinator.admin_token_unusable", file=str(directory.admin_token), reason=why)
            return
        # Who can take the file away owns everything here; without it nobody could get in any more.
        await first.add_token(directory.keep_admin_token)
        log.warning("coordinator.admin_token_made_anew", file=str(directory.admin_token), reason=why)

    async def _end(
        self, background: Iterable[asyncio.Task[None]], http: asyncio.Task[None], audit: asyncio.Task[None]
    ) -> None:
        """Agents first: they hear that they shall come back, and everything that they reported is stored."""
        log.info("coordinator.ending")
        self._app.is_ready = False
        self._app.http.stop()
        self._app.links.drain(self._config.agents.drain_within, "the coordinator ends")
        await self._app.grpc.stop(_DRAIN_S, _GRACE_S)
        await http
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        # Last: what the others did on their way out is recorded as well.
        self._app.audit.stop()
        await audit
        await self._app.audit.close()
        if self._app.audit_file is not None:
            await self._app.audit_file.finish()
        with contextlib.suppress(StoreUnavailable):
            await self._app.access.keep_uses()
        log.info("coordinator.ended")

    async def _renew_certificate(self) -> None:
        while True:
            await self._app.clock.sleep_until(Instant(self._app.clock.now() + _RENEWAL_CHECK_MS))
            try:
                if self._app.certificate.renew_if_due(self._app.clock.now()):
                    self._app.http.take_certificate()
                    log.info(
                        "certificate.renewed",
                        expires=self._app.certificate.current.certificate.not_valid_after_utc,
                    )
            except SetupError as error:
                # A full disk, for example: the present one is good for a while, and the next round tries again.
                log.warning("certificate.not_renewed", error=str(error))


async def migrate_database(config: Config) -> str:
    """Opens the database, which brings it to the schema of this version; returns that schema's name.

    Raises SetupError.
    """
    directory = DataDirectory(Path(config.data_dir))
    directory.make()
    store = await Store.open(database_url(config, directory))
    try:
        async with store.reading() as connection:
            return str(await connection.scalar(sa.text("SELECT version_num FROM alembic_version")))
    finally:
        await store.close()


async def verify_audit(config: Config, file: Path | None = None) -> AuditCheck:
    """Recounts the audit log in the database, or in a file of JSON lines. Raises SetupError."""
    directory = DataDirectory(Path(config.data_dir))
    key = key_in(directory.audit_seal) if directory.audit_seal.exists() else b""
    if file is not None:
        return verify_file(file)
    if not key:
        raise SetupError(f"there is no audit log here: {directory.audit_seal} does not exist")
    store = await Store.open(database_url(config, directory))
    try:
        return await verify(store, key, read_anchor(directory.audit_anchor))
    finally:
        await store.close()
