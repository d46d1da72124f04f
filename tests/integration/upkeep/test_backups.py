"""Backups: whole or none, of one moment, each bundle once; and restores that touch nothing before all is checked."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from ferryman.v1 import bundles_pb2
from ferryman_coordinator.config import Config, load
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store
from ferryman_coordinator.upkeep.backup import backups_in, snapshot, take
from ferryman_coordinator.upkeep.restore import restore
from tests.support.coordinator import RunningCoordinator, bundles_stub, running_coordinator
from tests.support.small_disk import small_disk

NOW = Instant(1_764_000_000_000)
LATER = Instant(NOW + 3_600_000)
CONTENT = b"no archive, but a bundle all the same"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def config(data_dir: Path, **settings: str) -> Config:
    return load(
        None, {}, {"data_dir": str(data_dir)} | {k.replace("__", "."): v for k, v in settings.items()}
    )


async def store_bundle(coordinator: RunningCoordinator, data_dir: Path, content: bytes = CONTENT) -> None:
    """As an upload would leave it; what is in it is nobody's business here."""
    digest = hashlib.sha256(content).hexdigest()
    path = data_dir / "bundles" / digest[:2] / digest
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)
    with sqlite3.connect(data_dir / "ferryman.db", timeout=5) as connection:
        connection.execute("INSERT INTO bundles VALUES (?, ?, 'zip', 1)", (digest, len(content)))


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    """Of a coordinator that has stopped, with one bundle and one instance."""
    path = tmp_path / "data"
    async with running_coordinator(path) as coordinator:
        await coordinator.enrol("web-1")
        await store_bundle(coordinator, path)
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["backups", "backup.tar", "backup.tgz"])
async def test_a_restored_coordinator_is_the_one_that_was_backed_up(tmp_path: Path, name: str) -> None:
    data_dir, copy = tmp_path / "data", tmp_path / "copy"
    async with running_coordinator(data_dir) as coordinator:
        agent = await coordinator.enrol("web-1")
        await store_bundle(coordinator, data_dir)
        taken = await asyncio.to_thread(take, config(data_dir), tmp_path / name, NOW)
    restored = await restore(config(copy), tmp_path / name, LATER)
    assert (restored.ended, restored.former, restored.place) == (0, None, taken.place)
    before, after = contents(data_dir), contents(copy)
    skipped = {"ferryman.db", "ferryman.db.lock", "audit.anchor", "ferryman.db-wal", "ferryman.db-shm"}
    assert {k: v for k, v in after.items() if k not in skipped} == {
        k: v for k, v in before.items() if k not in skipped
    }
    assert after[f"bundles/{DIGEST[:2]}/{DIGEST}"] == CONTENT
    for path in (copy, *copy.rglob("*")):
        if not path.name.startswith("ferryman.db"):
            assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(
                (data_dir / path.relative_to(copy)).stat().st_mode
            ), path
    assert stat.S_IMODE((copy / "ferryman.db").stat().st_mode) == 0o600
    async with running_coordinator(copy) as again:
        assert again.admin_token == coordinator.admin_token
        assert again.ready.ca_fingerprint == coordinator.ready.ca_fingerprint
        async with again.channel() as channel:
            request = bundles_pb2.FindBundleRequest(sha256=DIGEST)
            await bundles_stub(channel).FindBundle(request, metadata=again.admin)
        with sqlite3.connect(copy / "ferryman.db") as connection:
            assert connection.execute("SELECT instance_id FROM instances").fetchall() == [
                (agent.instance_id,)
            ]


async def test_a_backup_is_for_its_owner_alone_and_nothing_half_is_left(
    data_dir: Path, tmp_path: Path
) -> None:
    os.umask(0o022)
    folder = take(config(data_dir), tmp_path / "backups", NOW).place
    file = take(config(data_dir), tmp_path / "one.tar", NOW).place
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for path in (tmp_path / "backups").rglob("*"):
        allowed = 0o700 if path.is_dir() else 0o644 if path.name in ("ca.pem", "server.pem") else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == allowed, path
    assert stat.S_IMODE((tmp_path / "backups").stat().st_mode) == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backups", "data", "one.tar"]
    assert sorted(path.name for path in (tmp_path / "backups").iterdir()) == [".lock", folder.name, "bundles"]
    with pytest.raises(SetupError, match=r"one\.tar exists already: choose another name"):
        take(config(data_dir), tmp_path / "one.tar", LATER)


async def test_each_bundle_is_copied_once_and_goes_with_the_last_backup_that_needs_it(
    data_dir: Path, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    first = take(config(data_dir), backups, NOW)
    second = take(config(data_dir), backups, LATER)
    assert (first.bundles_copied, second.bundles_copied) == (1, 0)
    assert second.manifest.bundles == {DIGEST: len(CONTENT)}
    with sqlite3.connect(data_dir / "ferryman.db") as connection:
        connection.execute("DELETE FROM bundles")
    third = take(config(data_dir), backups, Instant(LATER + 1), keep=2)
    assert backups_in(backups) == [second.place, third.place]
    assert (backups / "bundles" / DIGEST[:2] / DIGEST).exists()
    take(config(data_dir), backups, Instant(LATER + 2), keep=2)
    assert not (backups / "bundles" / DIGEST[:2] / DIGEST).exists()
    # The newest of a folder, or any of them by its name.
    assert (await restore(config(tmp_path / "a"), backups, LATER)).place == backups_in(backups)[-1]
    assert (await restore(config(tmp_path / "b"), third.place, LATER)).place == third.place


async def test_the_copy_is_of_one_moment_and_the_writer_never_waits_for_it(tmp_path: Path) -> None:
    """Two rows are always stored together, by a store that is in full swing."""
    database = tmp_path / "ferryman.db"
    store = await Store.open(f"sqlite+aiosqlite:///{database}")
    is_over = threading.Event()
    copies: list[tuple[int, int]] = []

    def copy_again_and_again() -> None:
        for number in range(5):
            target = tmp_path / f"copy-{number}"
            snapshot(database, target)
            with sqlite3.connect(target) as copied:
                counted = copied.execute(
                    "SELECT count(*) FROM settings WHERE key LIKE ?", ("a-%",)
                ).fetchone()
                other = copied.execute("SELECT count(*) FROM settings WHERE key LIKE ?", ("b-%",)).fetchone()
            copies.append((counted[0], other[0]))
        is_over.set()

    copying = asyncio.create_task(asyncio.to_thread(copy_again_and_again))
    written = 0
    while not is_over.is_set() or written < 50:
        batch = Batch()
        for letter in "ab":
            batch.insert(tables.settings, {"key": f"{letter}-{written}", "value": "x" * 4000})
        await store.write(batch)
        written += 1
    await copying
    assert all(one == other for one, other in copies)
    assert copies[-1][0] > copies[0][0]
    async with store.reading() as connection:
        count = await connection.scalar(sa.select(sa.func.count()).select_from(tables.settings))
    assert count == 2 * written + 1
    await store.close()


@pytest.mark.parametrize("name", ["backups", "backup.tar"])
async def test_damage_is_named_before_anything_is_touched(data_dir: Path, tmp_path: Path, name: str) -> None:
    place = take(config(data_dir), tmp_path / name, NOW).place
    if place.is_dir():
        with (place / "ferryman.db").open("r+b") as file:
            file.seek(5000)
            file.write(b"\xff")
    else:
        at = place.read_bytes().index(CONTENT)
        with place.open("r+b") as file:
            file.seek(at)
            file.write(b"N")
    before = contents(data_dir)
    with pytest.raises(
        SetupError, match=r"is damaged: (ferryman\.db|bundles/\S+) has the digest .*nothing was restored"
    ):
        await restore(config(data_dir), place, LATER, force=True)
    assert contents(data_dir) == before
    with pytest.raises(SetupError, match="is damaged"):
        await restore(config(tmp_path / "new"), place, LATER)
    assert contents(tmp_path / "new").keys() == {"ferryman.db.lock"}


async def test_what_is_missing_cut_short_or_foreign_is_refused(data_dir: Path, tmp_path: Path) -> None:
    place = take(config(data_dir), tmp_path / "backups", NOW).place
    file = take(config(data_dir), tmp_path / "b.tar", NOW).place
    new = config(tmp_path / "new")
    with pytest.raises(SetupError, match="there is no backup .*nowhere"):
        await restore(new, tmp_path / "nowhere", LATER)
    (place / "files" / "ca" / "ca.key").rename(tmp_path / "ca.key")
    with pytest.raises(SetupError, match=r"is not whole: \S+/ca\.key is missing"):
        await restore(new, place, LATER)
    (tmp_path / "ca.key").rename(place / "files" / "ca" / "ca.key")
    (tmp_path / "short.tar").write_bytes(file.read_bytes()[:40_000])
    with pytest.raises(SetupError, match="cut short"):
        await restore(new, tmp_path / "short.tar", LATER)
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        member = tarfile.TarInfo("files/../../evil")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(SetupError, match=r"has an entry 'files/\.\./\.\./evil'"):
        await restore(new, tmp_path / "evil.tar", LATER)
    assert not (tmp_path / "evil").exists()
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["schema"] = "0001"
    (place / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SetupError, match="the manifest of the backup .* was changed"):
        await restore(new, place, LATER)
    manifest["format"], manifest["version"] = "ferryman-backup-2", "9.0"
    (place / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SetupError, match="has the format 'ferryman-backup-2'.* restore it with version 9.0"):
        await restore(new, place, LATER)
    assert contents(tmp_path / "new").keys() == {"ferryman.db.lock"}


async def test_a_backup_of_a_newer_schema_is_refused(data_dir: Path, tmp_path: Path) -> None:
    with sqlite3.connect(data_dir / "ferryman.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    take(config(data_dir), tmp_path / "backups", NOW)
    with pytest.raises(SetupError, match="has schema 9999, made by Ferryman .* restore it with that version"):
        await restore(config(tmp_path / "new"), tmp_path / "backups", LATER)


async def test_a_directory_with_contents_is_moved_aside_only_when_asked(
    data_dir: Path, tmp_path: Path
) -> None:
    take(config(data_dir), tmp_path / "backups", NOW)
    token = (data_dir / "admin.token").read_text()
    (data_dir / "admin.token").write_text("something else")
    before = contents(data_dir)
    with pytest.raises(SetupError, match="is not empty: restore into another --data-dir"):
        await restore(config(data_dir), tmp_path / "backups", LATER)
    assert contents(data_dir) == before
    restored = await restore(config(data_dir), tmp_path / "backups", LATER, force=True)
    assert restored.former is not None
    assert (restored.former / "admin.token").read_text() == "something else"
    assert (data_dir / "admin.token").read_text() == token
    # What was moved aside is in no later backup.
    again = take(config(data_dir), tmp_path / "again", LATER)
    assert not [name for name in again.manifest.files if name.startswith("before-restore")]


async def test_no_coordinator_starts_on_half_of_a_restore(data_dir: Path, tmp_path: Path) -> None:
    (data_dir / ".restoring").mkdir()
    with pytest.raises(SetupError, match="did not come to its end: run `ferryman-coordinator restore` again"):
        async with running_coordinator(data_dir):
            raise AssertionError("it started")


async def test_a_bundle_that_is_damaged_or_gone_is_told(data_dir: Path, tmp_path: Path) -> None:
    bundle = data_dir / "bundles" / DIGEST[:2] / DIGEST
    bundle.write_bytes(CONTENT[::-1])
    for name in ("backups", "b.tar"):
        with pytest.raises(SetupError, match=f"the bundle {bundle} is damaged"):
            take(config(data_dir), tmp_path / name, NOW)
    assert not (tmp_path / "b.tar").exists()
    assert backups_in(tmp_path / "backups") == []
    bundle.unlink()
    taken = take(config(data_dir), tmp_path / "backups", NOW)
    assert taken.manifest.missing == [DIGEST]
    await restore(config(tmp_path / "new"), tmp_path / "backups", LATER)


async def test_where_there_is_no_coordinator_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is no coordinator's data directory"):
        take(config(tmp_path / "nothing"), tmp_path / "backups", NOW)
    assert not (tmp_path / "nothing").exists()


async def test_without_room_nothing_is_left_that_looks_like_a_backup(data_dir: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 128 * 1024) as small:
        for name in ("backups", "b.tar"):
            with pytest.raises(SetupError, match="No space|no space"):
                take(config(data_dir), small / name, NOW)
        assert backups_in(small / "backups") == []
        assert not (small / "b.tar").exists()


def test_with_postgresql_the_files_are_saved_and_the_database_is_not_forgotten(
    tmp_path: Path, data_dir: Path
) -> None:
    command = [str(Path(sys.executable).with_name("ferryman-coordinator")), "backup", str(tmp_path / "b")]
    command += ["--data-dir", str(data_dir), "--database-url", "postgresql://u:geheim@db.example/ferryman"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pg_dump --format=custom --file=" in done.stderr
    assert "postgresql://u@db.example/ferryman" in done.stderr
    assert "geheim" not in done.stderr + done.stdout
    (place,) = backups_in(tmp_path / "b")
    assert (place / "files" / "ca" / "ca.key").exists()
    assert not (place / "ferryman.db").exists()
    assert (tmp_path / "b" / "bundles" / DIGEST[:2] / DIGEST).exists()
    accepted = subprocess.run([*command, "--files-only"], capture_output=True, text=True, check=False)
    assert accepted.returncode == 0, accepted.stderr
