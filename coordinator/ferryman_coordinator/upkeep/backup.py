"""Takes a backup of a data directory, whether or not a coordinator runs on it, and holds up none that does.

The database is copied by SQLite's own backup inside one read transaction: the writer goes on, and the copy is of one
moment. What changes beside it is copied in the order that keeps the copy whole: where the audit log had come to before
the database, which may know more; keys and bundles after it, so that all that it names is there.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ferryman_coordinator import __version__
from ferryman_coordinator.config import Config
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.data_dir import DataDirectory
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.keyfiles import make_private_folder
from ferryman_coordinator.store.sqlite import SqliteFaults
from ferryman_coordinator.upkeep.chest import TAR_SUFFIXES, Chest, Folder, TarFile, bundle_name
from ferryman_coordinator.upkeep.manifest import (
    BUNDLES,
    DATABASE,
    FILES,
    FORMAT,
    MANIFEST,
    Entry,
    Manifest,
    decode,
    encode,
)

_PAGES = 4096
"""Copied at a time, 16 MiB."""
_BUSY_S = 10.0
_PREFIX = "backup-"
FORMER = "before-restore-"
"""Prefix of the directory that a restore moves the former contents to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """`place` is the backup; sizes in bytes."""

    place: Path
    manifest: Manifest
    bundles_copied: int
    bytes_copied: int
    dump_command: str = ""
    """For the database that is not in it."""


def take(config: Config, destination: Path, now: Instant, *, keep: int = 0) -> Taken:
    """Writes a backup to a tar file, or into a folder that may hold earlier ones.

    `keep`: so many backups stay in the folder, this one included; 0: all. Raises SetupError; then nothing is left that
    could be taken for a backup.
    """
    directory = DataDirectory(Path(config.data_dir))
    if not directory.authority.is_dir():
        raise SetupError(f"there is nothing to back up: {directory.root} is no coordinator's data directory")
    try:
        with _chest(destination, now) as chest:
            taken = _fill(chest, config, directory, now, destination)
        if keep and not _is_tar(destination):
            forget_old(destination, keep)
    except OSError as error:
        raise SetupError(f"cannot write the backup {destination}: {error.strerror or error}") from error
    return taken


def is_backup_folder(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def backups_in(root: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in root.glob(f"{_PREFIX}*") if is_backup_folder(path))


def forget_old(root: Path, keep: int) -> None:
    """Deletes all but the newest `keep` backups, and the bundles that none of these needs.

    Raises OSError, SetupError.
    """
    present = backups_in(root)
    for old in present[:-keep]:
        # First what makes it a backup, so that a half deleted one is none.
        (old / MANIFEST).unlink()
        shutil.rmtree(old)
    needed = set()
    for path in present[-keep:]:
        needed |= set(decode((path / MANIFEST).read_bytes(), str(path)).bundles)
    for bundle in (root / BUNDLES).glob("??/*"):
        if bundle.name not in needed:
            bundle.unlink()


@contextmanager
def _chest(destination: Path, now: Instant) -> Iterator[Chest]:
    if _is_tar(destination):
        if destination.exists():
            raise SetupError(f"{destination} exists already: choose another name, or remove it first")
        yield from _discarded_unless_closed(TarFile(destination))
        return
    if destination.exists() and not destination.is_dir():
        raise SetupError(
            f"{destination} is no directory: name one, or a file that ends in {', '.join(TAR_SUFFIXES)}"
        )
    if not destination.exists():
        make_private_folder(destination)
    with _alone(destination):
        for leftover in destination.glob(f".{_PREFIX}*.partial"):
            shutil.rmtree(leftover)
        name = _free_name(destination, now)
        yield from _discarded_unless_closed(Folder(destination, name))


def _discarded_unless_closed(chest: Folder | TarFile) -> Iterator[Chest]:
    try:
        yield chest
    except BaseException:
        chest.discard()
        raise


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SetupError(f"another backup into {root} is under way: wait for its end") from None
    finally:
        os.close(descriptor)


def _free_name(root: Path, now: Instant) -> str:
    """By the time in UTC, so that names sort as the backups were taken."""
    at = datetime.datetime.fromtimestamp(now / 1000, datetime.UTC)
    name = f"{_PREFIX}{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03}Z"
    if (root / name).exists():
        raise SetupError(f"{root / name} exists already: try again")
    return name


def _fill(chest: Chest, config: Config, directory: DataDirectory, now: Instant, destination: Path) -> Taken:
    files: dict[str, Entry] = {}
    if directory.audit_anchor.exists():
        files["audit.anchor"] = chest.add(f"{FILES}/audit.anchor", directory.audit_anchor)
    database, schema, known, dump = _database(chest, config, directory, destination)
    for path in _files(directory):
        name = path.relative_to(directory.root).as_posix()
        if name not in files:
            mode = stat.S_IMODE(path.stat().st_mode)
            files[name] = chest.add(f"{FILES}/{name}", path, mode)
    bundles, missing, copied = _bundles(chest, directory, known)
    manifest = Manifest(
        format=FORMAT,
        version=__version__,
        taken_at=now,
        schema=schema,
        database=database,
        files=files,
        bundles=bundles,
        missing=missing,
    )
    place = chest.close(encode(manifest))
    sizes = [entry.size for entry in files.values()] + [bundles[digest] for digest in copied]
    return Taken(
        place=place,
        manifest=manifest,
        bundles_copied=len(copied),
        bytes_copied=sum(sizes) + (database.size if database else 0),
        dump_command=dump,
    )


def _database(
    chest: Chest, config: Config, directory: DataDirectory, destination: Path
) -> tuple[Entry | None, str, dict[str, int] | None, str]:
    """Its entry and schema, the bundles that it knows (None: ask the folder), and the command for another database."""
    if config.database.url:
        return None, "", None, dump_command(config.database.url, destination)
    if not directory.database.exists():
        raise SetupError(
            f"there is no database {directory.database}: name the --data-dir that the coordinator has"
        )
    # Beside the destination: it has room for the backup, and the copy is as secret as that.
    folder = destination.parent if _is_tar(destination) else destination
    temporary = folder / f".{DATABASE}.{os.getpid()}.snapshot"
    temporary.unlink(missing_ok=True)
    try:
        schema, known = snapshot(directory.database, temporary)
        return chest.add(DATABASE, temporary), schema, known, ""
    finally:
        for path in folder.glob(f"{temporary.name}*"):
            path.unlink()


def snapshot(database: Path, target: Path) -> tuple[str, dict[str, int]]:
    """Copies a database that may be in use; returns its schema, and its bundles with their sizes. Raises SetupError."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            contextlib.closing(_reader(database)) as source,
            contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            # The read transaction keeps every page as it is now, however long the copying takes.
            source.execute("BEGIN")
            schema = str(source.execute("SELECT version_num FROM alembic_version").fetchone()[0])
            source.backup(copy, pages=_PAGES)
            known = dict(source.execute("SELECT sha256, size_bytes FROM bundles").fetchall())
            # One file, that may be opened from a place which cannot be written.
            copy.execute("PRAGMA journal_mode=DELETE")
            if (found := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise SetupError(
                    f"the database {database} is damaged ({found}): see `ferryman-coordinator doctor`"
                )
            return schema, known
    except sqlite3.Error as error:
        raise SqliteFaults(database).setup(error) from error


def dump_command(url: str, destination: Path) -> str:
    """What saves a PostgreSQL database, without its password."""
    address = sa.make_url(url).set(drivername="postgresql")._replace(password=None)
    name = "ferryman.dump"
    file = destination.parent / name if _is_tar(destination) else destination / name
    return f"pg_dump --format=custom --file={file} {address.render_as_string(hide_password=False)}"


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None
    )


def _files(directory: DataDirectory) -> Iterator[Path]:
    """Everything but the database, the bundles and what is not finished."""
    for folder, names, files in os.walk(directory.root):
        here = Path(folder)
        if here == directory.root:
            names[:] = [name for name in names if name != BUNDLES and not name.startswith(FORMER)]
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "lost+found")
        for name in sorted(files):
            is_database = here == directory.root and name.startswith(DATABASE)
            if not name.startswith(".") and not is_database and not (here / name).is_symlink():
                yield here / name


def _bundles(
    chest: Chest, directory: DataDirectory, known: dict[str, int] | None
) -> tuple[dict[str, int], list[str], list[str]]:
    """Those in the backup with their sizes, those that are not there, and those that were copied now."""
    if known is None:
        found = [path for path in directory.bundles.glob("??/*") if path.name.startswith(path.parent.name)]
        known = {path.name: path.stat().st_size for path in found}
    present: dict[str, int] = {}
    missing, copied = [], []
    for sha256, size in sorted(known.items()):
        source = directory.bundles / sha256[:2] / sha256
        if not chest.has_bundle(sha256, size):
            if not source.exists():
                missing.append(sha256)
                continue
            entry = chest.add(bundle_name(sha256), source)
            if entry.sha256 != sha256:
                raise SetupError(
                    f"the bundle {source} is damaged: what it holds has the digest {entry.sha256}. Remove it and push"
                    " that revision again, then take the backup"
                )
            copied.append(sha256)
        present[sha256] = size
    return present, missing, copied


def _is_tar(path: Path) -> bool:
    return path.name.endswith(TAR_SUFFIXES)
