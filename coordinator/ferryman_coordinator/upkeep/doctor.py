"""Looks at all that a coordinator stands on, whether or not one runs, and says of each what to do.

Nothing is changed and nothing is held up: the database is read like by any reader, ports are tried when nobody runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa
from cryptography import x509

from ferryman_coordinator.bundles.s3 import S3Store
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config import Config
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.data_dir import DataDirectory
from ferryman_coordinator.errors import Refused, SetupError
from ferryman_coordinator.identity import certificates, rotation
from ferryman_coordinator.keyfiles import read_file
from ferryman_coordinator.listening import cannot_listen, why_not
from ferryman_coordinator.store import migrate
from ferryman_coordinator.store.queries import revisions as revision_queries
from ferryman_coordinator.store.queries.revisions import RevisionSource
from ferryman_coordinator.store.tables import certificates as certificate_table
from ferryman_coordinator.upkeep.reader import reading
from ferryman_coordinator.upkeep.rotating import progress

_MIB = 1024 * 1024
_LEAST_FREE, _LITTLE_FREE = 128 * _MIB, 1024 * _MIB
_CA_WARNING_DAYS, _SERVER_WARNING_DAYS = 90, 7
_DAY_MS = 86_400_000
_CLOCK_MS = 60_000
_CONNECT_S = 5.0
_SECRETS = ("*.key", "*.token", "github-tokens.json", "audit.anchor", "ferryman.db", "ca/*.key")


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`remedy` is empty where all is well."""

    subject: str
    verdict: Verdict
    text: str
    remedy: str = ""


async def examine(config: Config, clock: Clock) -> AsyncIterator[Finding]:
    """Yields what it finds, subject by subject."""
    directory, now = DataDirectory(Path(config.data_dir)), clock.now()
    if not directory.root.is_dir():
        yield _broken(
            "data directory",
            f"there is no {directory.root}",
            "name the --data-dir that `serve` has, or start the coordinator once to make it",
        )
        return
    for check in (_modes, _disk):
        for finding in check(directory):
            yield finding
    for finding in _certificates(directory, now):
        yield finding
    is_running = _is_running(directory)
    yield _ok("coordinator", "runs on this directory" if is_running else "does not run on this directory")
    if not is_running:
        for finding in _ports(config):
            yield finding
    async for finding in _database(config, directory, now):
        yield finding
    for name, source in config.alarms.sources.items():
        if url := getattr(source, "url", ""):
            yield await _reached(f"alarm source {name}", url)


def _ok(subject: str, text: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.OK, text=text)


def _broken(subject: str, text: str, remedy: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.BROKEN, text=text, remedy=remedy)


def _warning(subject: str, text: str, remedy: str) -> Finding:
    return Finding(subject=subject, verdict=Verdict.WARNING, text=text, remedy=remedy)


def _modes(directory: DataDirectory) -> Iterator[Finding]:
    subject, root = "data directory", directory.root
    if directory.unfinished_restore.exists():
        yield _broken(
            subject, "a restore did not come to its end", "run `ferryman-coordinator restore … --force`"
        )
    wrong = [path for path in (root, *_matching(root)) if path.stat().st_mode & 0o077]
    for path in wrong:
        mode = 0o700 if path.is_dir() else 0o600
        text = f"{path} is open to others (mode {stat.S_IMODE(path.stat().st_mode):04o})"
        yield _broken(subject, text, f"chmod {mode:o} {path}")
    if not os.access(root, os.W_OK):
        yield _broken(subject, f"this user cannot write in {root}", "run doctor, and serve, as its owner")
    if not wrong:
        yield _ok(subject, f"{root} is its owner's alone")


def _matching(root: Path) -> Iterator[Path]:
    for pattern in _SECRETS:
        yield from sorted(root.glob(pattern))


def _disk(directory: DataDirectory) -> Iterator[Finding]:
    free = shutil.disk_usage(directory.root).free
    text = f"{free // _MIB} MiB are free"
    remedy = "free some, move the data directory, or shorten history.keep"
    if free < _LEAST_FREE:
        yield _broken("disk", text, remedy)
    elif free < _LITTLE_FREE:
        yield _warning("disk", text, remedy)
    else:
        yield _ok("disk", text)


def _certificates(directory: DataDirectory, now: Instant) -> Iterator[Finding]:
    places = (
        ("CA", "ca.pem", _CA_WARNING_DAYS, "rotate it with `ferryman-coordinator rotate-ca`"),
        (
            "server certificate",
            "server.pem",
            _SERVER_WARNING_DAYS,
            "start the coordinator: it renews it by itself",
        ),
    )
    for subject, name, warning_days, remedy in places:
        path = directory.authority / name
        try:
            content = read_file(path)
            certificate = None if content is None else x509.load_pem_x509_certificate(content)
        except (ValueError, SetupError) as error:
            yield _broken(subject, f"cannot read {path}: {error}", "restore it from a backup")
            continue
        if certificate is None:
            yield _warning(subject, f"there is no {path}", "the coordinator makes it when it starts")
            continue
        days = (certificates.expiry(certificate) - now) // _DAY_MS
        text = f"valid until {certificate.not_valid_after_utc:%Y-%m-%d}, {days} days"
        if days < 0:
            yield _broken(subject, text, remedy)
        else:
            yield _warning(subject, text, remedy) if days < warning_days else _ok(subject, text)


def _is_running(directory: DataDirectory) -> bool:
    path = directory.database.with_name(directory.database.name + ".lock")
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _ports(config: Config) -> Iterator[Finding]:
    listen = config.listen
    for name, address in (("grpc", listen.grpc), ("agents", listen.for_agents), ("http", listen.http)):
        error = why_not(address)
        if error.errno is None:
            yield _ok(f"port {name}", f"{address} is free")
        else:
            refused = str(cannot_listen(address, f"listen.{name}", f"listen.{name}", error))
            yield _broken(f"port {name}", refused, f"free it, or set listen.{name}")


async def _database(config: Config, directory: DataDirectory, now: Instant) -> AsyncIterator[Finding]:
    subject = "database"
    if not config.database.url and not directory.database.exists():
        yield _warning(
            subject, f"there is no {directory.database}", "the coordinator makes it when it starts"
        )
        return
    try:
        async with reading(config, directory) as connection:
            if not config.database.url:
                found = (await connection.execute(sa.text("PRAGMA quick_check(5)"))).scalars().all()
                if found != ["ok"]:
                    yield _broken(subject, f"it is damaged: {'; '.join(found)}", "restore it from a backup")
                    return
            schema = str(await connection.scalar(sa.text("SELECT version_num FROM alembic_version")))
            yield _schema(schema)
            if schema != migrate.newest():
                return
            newest = await connection.scalar(sa.select(sa.func.max(certificate_table.c.issued_at)))
            yield _clock(newest or 0, now)
            if (present := rotation.state(directory.authority)) is not None:
                left = len((await progress(connection, present.new, now)).waiting)
                text = f"a rotation is under way, {left} agents are left"
                yield _warning("CA", text, "`ferryman-coordinator rotate-ca --status`, then --finish")
            has_s3 = await revision_queries.exists(connection, RevisionSource.S3)
    except SetupError as error:
        yield _broken(subject, str(error), "see that it runs, that the address is right, and who may read it")
        return
    if has_s3 or config.s3.credentials_file or config.s3.endpoint_url:
        yield await _s3(config)


def _schema(schema: str) -> Finding:
    if schema == migrate.newest():
        return _ok("database", f"whole, schema {schema}")
    if schema in migrate.known():
        text = f"it has schema {schema}, this version has {migrate.newest()}"
        return _warning("database", text, "take a backup; the next start brings it up to date")
    text = f"it has schema {schema}, made by a newer Ferryman"
    return _broken(
        "database", text, "install that version again, or restore a backup from before its upgrade"
    )


def _clock(newest: int, now: Instant) -> Finding:
    ahead = newest - now
    if ahead > _CLOCK_MS:
        text = f"this machine's clock is {ahead // 1000} s behind what is stored"
        return _broken(
            "clock", text, "set it, and let a time service keep it (chronyc tracking, timedatectl)"
        )
    return _ok("clock", "not behind what is stored")


async def _s3(config: Config, make: Callable[..., S3Store] = S3Store) -> Finding:
    from ferryman_coordinator.clock import SystemClock

    try:
        await make(config.s3, SystemClock()).prepare()
    except Refused as refused:
        return _broken("S3", refused.message, "see s3.credentials_file, or the role of this machine")
    return _ok("S3", "there are keys to sign addresses with")


async def _reached(subject: str, url: str) -> Finding:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()
    except (OSError, TimeoutError) as error:
        text = f"cannot reach {parts.hostname}:{port}: {getattr(error, 'strerror', None) or 'no answer'}"
        return _warning(subject, text, "deployments that watch its alarms stop when it cannot be read")
    return _ok(subject, f"{parts.hostname}:{port} answers")
