"""A database of the release before, with a deployment under way: this version goes on with it."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

from ferryman_coordinator.core.model import DeploymentId, DeploymentStatus, EventStatus, TargetStatus
from ferryman_coordinator.core.rollout import Rollout
from ferryman_coordinator.engine.loading import load
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.store import migrate
from ferryman_coordinator.store.queries import deployments as queries
from ferryman_coordinator.store.queries import groups, instances
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.sqlite import BEFORE
from ferryman_coordinator.store.store import Store
from tests.support.coordinator_records import bundle, rollout_record, rollout_spec

PREVIOUS = "0002"
RUNNING = DeploymentId("d-000000001")
# What the release before did not know, and so did not write.
NEW_IN_SPEC = ("options", "selection")


def filled(connection: sa.Connection) -> None:
    """The schema of the release before, and rows as that release wrote them."""
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(migrate.__file__).with_name("migrations")))
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, PREVIOUS)
    spec = json.loads(to_json(rollout_spec(RUNNING)))
    for name in NEW_IN_SPEC:
        spec.pop(name, None)
    record = to_json(
        rollout_record(DeploymentStatus.IN_PROGRESS, started_at=1, counted=3, minimum=2, concurrency=1)
    )
    empty = {
        "application_id": "app-1",
        "group_id": "g-1",
        "application_name": "web",
        "group_name": "production",
    }
    rows: list[tuple[str, dict[str, Any]]] = [
        ("applications", {"application_id": "app-1", "name": "web", "compute_platform": "Server", "created_at": 1}),
        (
            "deployment_groups",
            {
                "group_id": "g-1", "application_id": "app-1", "name": "production",
                "config_name": "CodeDeployDefault.OneAtATime", "selection": '{"filters": [], "groups": []}',
                "auto_rollback": "{}", "created_at": 1, "last_attempted_id": RUNNING,
            },
        ),
        (
            "deployments",
            {
                "deployment_id": RUNNING, **empty, "is_fleet": True, "status": "InProgress", "creator": "user",
                "config_name": "CodeDeployDefault.OneAtATime", "revision_key": "k", "spec": json.dumps(spec),
                "record": record, "description": "", "created_at": 1,
            },
        ),
    ]  # fmt: skip
    for number, status in ((1, "Succeeded"), (2, "InProgress"), (3, "Pending")):
        rows.append(
            (
                "instances",
                {
                    "instance_id": f"mi-{number}", "name": f"web-{number}", "kind": "OnPremises", "arn": "arn",
                    "tags": "[]", "zone": "", "registered_at": 1, "facts": "{}",
                },
            )
        )  # fmt: skip
        rows.append(
            (
                "certificates",
                {"serial": f"c{number}", "instance_id": f"mi-{number}", "issued_at": 1, "expires_at": 2},
            )
        )
        rows.append(
            (
                "targets",
                {
                    "deployment_id": RUNNING, "instance_id": f"mi-{number}", "instance_name": f"web-{number}",
                    "zone": "", "ordinal": number - 1, "status": status, "was_healthy": True, "attempt": 1, "step": 0,
                    "phase": "Started" if number == 2 else "None", "is_cancelled": False,
                    "lifecycle_event": "BeforeInstall" if number == 2 else "", "failed_by_silence": False,
                    "updated_at": 1, "started_at": 1 if number < 3 else None,
                    "deadline": 9_000 if number == 2 else None,
                    "completed_at": 1 if number == 1 else None,
                },
            )
        )  # fmt: skip
    rows.append(
        (
            "target_events",
            {
                "deployment_id": RUNNING, "instance_id": "mi-2", "name": "BeforeInstall", "status": "InProgress",
                "started_at": 1,
            },
        )
    )  # fmt: skip
    for table, row in rows:
        columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        connection.execute(sa.text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)


async def fill(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(filled)
    await engine.dispose()


async def test_a_deployment_that_is_under_way_goes_on_after_the_upgrade(fresh_url: str) -> None:
    await fill(fresh_url)
    store = await Store.open(fresh_url)
    try:
        async with store.reading() as connection:
            assert await queries.live(connection) == [RUNNING]
            loaded = await load(connection, RUNNING)
            (group,) = [await groups.get(connection, loaded.deployment.group_id)] if loaded else [None]
            holder = await instances.holder(connection, "c1")
        assert loaded is not None
        assert loaded.deployment.spec.revision == bundle()
        rollout = Rollout.restore(
            loaded.rollout.spec, loaded.rollout.record, loaded.rollout.targets, loaded.rollout.events
        )
        rollout.check()
        statuses = [target.status for target in loaded.rollout.targets]
        assert statuses == [TargetStatus.SUCCEEDED, TargetStatus.IN_PROGRESS, TargetStatus.PENDING]
        assert [event.status for _, event in loaded.rollout.events] == [EventStatus.IN_PROGRESS]
        assert group is not None
        assert holder is not None
        assert holder.first_used_at is None
    finally:
        await store.close()


async def test_a_copy_is_kept_before_sqlite_is_changed(tmp_path: Path) -> None:
    database = tmp_path / "ferryman.db"
    url = f"sqlite+aiosqlite:///{database}"
    await fill(url)
    await (await Store.open(url)).close()
    kept = tmp_path / f"ferryman.db{BEFORE}{PREVIOUS}"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with sqlite3.connect(kept) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == (PREVIOUS,)
        assert copy.execute("SELECT count(*) FROM targets").fetchone() == (3,)
    # It can go back: the version before opens the copy as it was.
    written = kept.stat().st_mtime_ns
    await (await Store.open(url)).close()
    assert kept.stat().st_mtime_ns == written
    assert sorted(path.name for path in tmp_path.glob("ferryman.db.b*")) == [kept.name]


async def test_without_a_copy_nothing_is_changed(tmp_path: Path) -> None:
    database = tmp_path / "ferryman.db"
    url = f"sqlite+aiosqlite:///{database}"
    await fill(url)
    (tmp_path / f".ferryman.db{BEFORE}{PREVIOUS}.new").mkdir()
    with pytest.raises(SetupError, match="cannot keep a copy of the database .* nothing was changed"):
        await Store.open(url)
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (PREVIOUS,)


async def test_check_says_what_migrate_would_do_and_does_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    await fill(f"sqlite+aiosqlite:///{tmp_path / 'ferryman.db'}")
    program = [
        str(Path(sys.executable).with_name("ferryman-coordinator")),
        "migrate",
        "--data-dir",
        str(tmp_path),
    ]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*program, *options], capture_output=True, text=True, check=False)

    due = run("--check")
    assert due.returncode == 1
    assert f"has schema {PREVIOUS}, this version has {migrate.newest()}" in due.stderr
    assert run("--check").stderr == due.stderr
    assert run().returncode == 0
    done = run("--check")
    assert (done.returncode, migrate.newest() in done.stdout) == (0, True)
    with sqlite3.connect(tmp_path / "ferryman.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = run("--check")
    assert newer.returncode == 1
    assert "schema 9999, made by a newer Ferryman" in newer.stderr
