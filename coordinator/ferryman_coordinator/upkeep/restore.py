"""Makes a data directory out of a backup. Everything is put together and checked beside what is there, then moved.

Nothing of the directory is touched before every digest and the schema are right. What was there is never deleted: with
`force` it is moved into a directory of its own.
"""

from __future__ import annotations

import datetime
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from ferryman_coordinator.config import Config
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.data_dir import DataDirectory
from ferryman_coordinator.engine.restored import end_unfinished
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.keyfiles import make_folders, make_private_folder, sync_folder
from ferryman_coordinator.store import migrate
from ferryman_coordinator.store.lock import DirectoryLock
from ferryman_coordinator.store.sqlite import BEFORE
from ferryman_coordinator.store.store import Store
from ferryman_coordinator.upkeep.backup import FORMER, backups_in, is_backup_folder
from ferryman_coordinator.upkeep.chest import TAR_SUFFIXES, bundle_name, copy, keep
from ferryman_coordinator.upkeep.manifest import (
    BUNDLES,
    DATABASE,
    FILES,
    MANIFEST,
    Entry,
    Manifest,
    decode,
    is_safe,
)

_LOCK = DATABASE + ".lock"
_NOTHING = frozenset({_LOCK, "lost+found", ".restoring"})
_MANIFEST_LIMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`ended` are deployments that were under way in the backup; `former` is where the old contents are."""

    place: Path
    manifest: Manifest
    ended: int
    unfinished: bool
    former: Path | None


async def restore(
    config: Config, source: Path, now: Instant, *, force: bool = False, resume: bool = False
) -> Restored:
    """`source`: a tar file, a backup's folder, or the folder that holds several: then the newest.

    `resume`: go on with what was under way, for a backup that nothing has happened after. Raises SetupError.
    """
    directory = DataDirectory(Path(config.data_dir))
    place = _found(source)
    directory.make_for_restore()
    lock = DirectoryLock(directory.root / _LOCK)
    lock.take()
    try:
        present = [path for path in directory.root.iterdir() if path.name not in _NOTHING]
        if present and not force:
            raise SetupError(
                f"{directory.root} is not empty: restore into another --data-dir, or move what is there aside with"
                " --force"
            )
        staging = directory.unfinished_restore
        shutil.rmtree(staging, ignore_errors=True)
        make_private_folder(staging)
        try:
            manifest = _staged(place, staging)
            unfinished, ended = await _make_present(config, manifest, staging, now, resume=resume)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        former = _move_aside(directory.root, present, now) if present else None
        _move_in(staging, directory.root)
        return Restored(place=place, manifest=manifest, ended=ended, unfinished=unfinished, former=former)
    except OSError as error:
        raise SetupError(f"cannot restore to {directory.root}: {error.strerror or error}") from error
    finally:
        lock.release()


def _found(source: Path) -> Path:
    if source.is_file() and source.name.endswith(TAR_SUFFIXES):
        return source
    if source.is_dir():
        if is_backup_folder(source):
            return source
        if present := backups_in(source):
            return present[-1]
    raise SetupError(
        f"there is no backup {source}: name a folder that `ferryman-coordinator backup` wrote, or its file that ends in"
        f" {', '.join(TAR_SUFFIXES)}"
    )


def _staged(place: Path, staging: Path) -> Manifest:
    """Copies everything and compares it with the manifest. Raises SetupError, OSError."""
    if place.is_dir():
        manifest = decode((place / MANIFEST).read_bytes(), str(place))
        _demand_known_schema(manifest, place)
        found = {}
        for name, entry in _expected(manifest).items():
            root = place.parent if name.startswith(BUNDLES + "/") else place
            found[name] = _copied(root / name, _target(staging, name), entry.mode, place)
    else:
        manifest, found = _unpacked(place, staging)
        _demand_known_schema(manifest, place)
    expected = _expected(manifest)
    for name in sorted(expected.keys() | found.keys()):
        _compare(place, name, expected.get(name), found.get(name))
    for name, entry in manifest.files.items():
        (staging / name).chmod(entry.mode)
    return manifest


def _copied(source: Path, target: Path, mode: int, place: Path) -> Entry:
    try:
        return copy(source, target, mode)
    except FileNotFoundError as error:
        raise SetupError(
            f"the backup {place} is not whole: {source} is missing; nothing was restored"
        ) from error


def _unpacked(place: Path, staging: Path) -> tuple[Manifest, dict[str, Entry]]:
    found: dict[str, Entry] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(place, "r|*") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or not is_safe(member.name) or member.name in found:
                    raise SetupError(f"{place} is no backup: it has an entry {member.name!r}")
                if member.name == MANIFEST:
                    manifest = decode(content.read(_MANIFEST_LIMIT), str(place))
                else:
                    found[member.name] = keep(content, _target(staging, member.name), member.mode & 0o777)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise SetupError(
            f"the backup {place} is damaged or cut short ({error}); nothing was restored"
        ) from error
    if manifest is None:
        raise SetupError(f"the backup {place} is cut short: it has no manifest; nothing was restored")
    return manifest, found


def _target(staging: Path, name: str) -> Path:
    """Where a piece of a backup belongs in a data directory."""
    target = staging / name.removeprefix(FILES + "/")
    make_folders(staging, target.parent)
    return target


def _expected(manifest: Manifest) -> dict[str, Entry]:
    expected = {f"{FILES}/{name}": entry for name, entry in manifest.files.items()}
    if manifest.database is not None:
        expected[DATABASE] = manifest.database
    for sha256, size in manifest.bundles.items():
        expected[bundle_name(sha256)] = Entry(sha256=sha256, size=size)
    return expected


def _compare(place: Path, name: str, expected: Entry | None, found: Entry | None) -> None:
    if expected is None:
        raise SetupError(f"the backup {place} was changed: {name} is not of it; nothing was restored")
    if found is None:
        raise SetupError(f"the backup {place} is not whole: {name} is missing; nothing was restored")
    if (expected.sha256, expected.size) != (found.sha256, found.size):
        raise SetupError(
            f"the backup {place} is damaged: {name} has the digest {found.sha256}, it should be {expected.sha256};"
            " nothing was restored. Take an earlier backup"
        )


def _demand_known_schema(manifest: Manifest, place: Path) -> None:
    if manifest.schema and manifest.schema not in migrate.known():
        raise SetupError(
            f"the backup {place} has schema {manifest.schema}, made by Ferryman {manifest.version}; this one knows"
            f" schemas up to {migrate.newest()}: restore it with that version"
        )


async def _make_present(
    config: Config, manifest: Manifest, staging: Path, now: Instant, *, resume: bool
) -> tuple[bool, int]:
    """Brings the database to the present; returns whether something is under way, and how much of that was ended."""
    if manifest.database is None:
        return False, 0
    if config.database.url:
        raise SetupError(
            "the backup holds an SQLite database, and database.url names a PostgreSQL: restore without that setting"
        )
    at = datetime.datetime.fromtimestamp(manifest.taken_at / 1000, datetime.UTC)
    why = f"was restored from a backup of {at:%Y-%m-%d %H:%M:%S} UTC"
    store = await Store.open(f"sqlite+aiosqlite:///{staging / DATABASE}")
    try:
        if resume:
            return True, 0
        return False, len(await end_unfinished(store, why, now))
    finally:
        await store.close()
        (staging / _LOCK).unlink(missing_ok=True)
        _drop_copies(staging)


def _drop_copies(staging: Path) -> None:
    """Of the older schema: there is the backup."""
    for path in staging.glob(f"{DATABASE}{BEFORE}*"):
        path.unlink()


def _move_aside(root: Path, present: list[Path], now: Instant) -> Path:
    at = datetime.datetime.fromtimestamp(now / 1000, datetime.UTC)
    former = root / f"{FORMER}{at:%Y%m%dT%H%M%SZ}"
    former.mkdir(mode=0o700)
    for path in present:
        if not path.name.startswith(FORMER):
            path.rename(former / path.name)
    sync_folder(root)
    return former


def _move_in(staging: Path, root: Path) -> None:
    """`staging` goes last: as long as it is there, no coordinator starts."""
    for folder, _, _ in os.walk(staging):
        sync_folder(Path(folder))
    for path in sorted(staging.iterdir()):
        path.rename(root / path.name)
    sync_folder(root)
    staging.rmdir()
    sync_folder(root)
