"""`ferryman-coordinator backup | restore | rotate-ca | recover-admin`: reads options, prints answers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.options import PROGRAM, ConfigFile, DatabaseUrl, DataDir, load_settings, run_async

if TYPE_CHECKING:
    from ferryman_coordinator.config import Config
    from ferryman_coordinator.upkeep.backup import Taken
    from ferryman_coordinator.upkeep.doctor import Finding
    from ferryman_coordinator.upkeep.restore import Restored


def add_commands(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(restore)
    app.command("rotate-ca")(rotate_ca)
    app.command()(doctor)
    app.command("recover-admin")(recover_admin)


def backup(
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="A new file ending in .tar, .tar.gz or .tgz; or a directory, which keeps several backups and each"
            " bundle once.",
            show_default=False,
        ),
    ],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    keep: Annotated[
        int,
        typer.Option(
            "--keep", min=0, help="In a directory: keep so many backups, delete older ones. 0: all."
        ),
    ] = 0,
    files_only: Annotated[
        bool,
        typer.Option(
            "--files-only",
            help="With PostgreSQL: exit 0 although the database is not in it; you dump that yourself.",
        ),
    ] = False,
) -> None:
    """Back up database, keys and bundles, also while the coordinator runs.

    With PostgreSQL it backs up keys and bundles, shows the pg_dump command for the rest, and exits 1.
    """
    settings = load_settings(config, {"data_dir": data_dir, "database.url": database_url})

    async def run() -> None:
        from ferryman_coordinator.clock import SystemClock
        from ferryman_coordinator.upkeep.backup import take

        taken = take(settings, destination.absolute(), SystemClock().now(), keep=keep)
        _show_backup(taken)
        if taken.dump_command and not files_only:
            raise SetupError(
                f"keys and bundles are in {taken.place}, the database is not: save it with\n  {taken.dump_command}\n"
                "(--files-only says that you do)"
            )

    run_async(run)


def restore(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="What `backup` wrote. Of a directory: the newest in it.",
            show_default=False,
        ),
    ],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    force: Annotated[
        bool, typer.Option("--force", help="Move what is in the data directory aside; nothing is deleted.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with deployments that were under way. Only if nothing ran after the backup: commands that"
            " agents have finished since would run again.",
        ),
    ] = False,
) -> None:
    """Make a data directory out of a backup; the coordinator must not run. Every digest is checked before."""
    settings = load_settings(config, {"data_dir": data_dir, "database.url": database_url})

    async def run() -> None:
        from ferryman_coordinator.clock import SystemClock
        from ferryman_coordinator.upkeep.restore import restore as carry_out

        restored = await carry_out(
            settings, source.absolute(), SystemClock().now(), force=force, resume=resume
        )
        _show_restore(restored, settings.data_dir, settings.database.url)

    run_async(run)


def recover_admin(
    config: ConfigFile = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Let the user `admin` in again when nobody can administer any more; the coordinator must not run.

    It is enabled, has role admin everywhere and no other one, and a new token.
    """
    settings = load_settings(config, {"data_dir": data_dir, "database.url": database_url})

    async def run() -> None:
        from ferryman_coordinator.clock import SystemClock
        from ferryman_coordinator.upkeep.recovery import recover_admin as carry_out

        file = await carry_out(settings, SystemClock())
        print(f"user admin has role admin again; its token is in {file}. Start the coordinator now.")

    run_async(run)


def rotate_ca(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    status: Annotated[
        bool, typer.Option("--status", help="Only show how far it is; exit code 1 while agents are left.")
    ] = False,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Drop the old CA; refused while agents have nothing of the new one."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --finish: those that are left must enroll anew.")
    ] = False,
) -> None:
    """Replace the certificate authority while coordinator and agents run.

    Without an option it begins: a new CA beside the old one, both trusted. Agents renew onto the new one within
    minutes, those that are away when they come back. Once --status shows none left, --finish drops the old one.
    """
    settings = load_settings(config, {"data_dir": data_dir, "database.url": database_url})
    exit_code: list[int] = []

    async def run() -> None:
        from ferryman_coordinator.clock import SystemClock
        from ferryman_coordinator.data_dir import DataDirectory
        from ferryman_coordinator.identity import rotation
        from ferryman_coordinator.upkeep.reader import reading
        from ferryman_coordinator.upkeep.rotating import progress

        directory, now = DataDirectory(Path(settings.data_dir)), SystemClock().now()
        if not (status or finish):
            begun = rotation.begin(directory.authority, now, settings.certificates.ca_lifetime)
            print(f"{PROGRAM}: begun; old CA sha256:{begun.old}, new CA sha256:{begun.new}")
            _show_rotation_steps(str(directory.ca_certificate))
            return
        present = rotation.state(directory.authority)
        if present is None:
            raise SetupError("no rotation of the CA is under way: begin one with `rotate-ca`")
        async with reading(settings, directory) as connection:
            reached = await progress(connection, present.new, now)
        left = len(reached.waiting)
        print(f"old CA sha256:{present.old}\nnew CA sha256:{present.new}")
        print(f"{reached.moved} agents have moved to the new CA, {left} are left")
        for agent in reached.waiting:
            print(f"  {agent.name} ({agent.instance_id}), last seen {_at(agent.last_seen_at)}")
        if not finish:
            exit_code.append(1 if left else 0)
            return
        if left and not force:
            raise SetupError(
                f"{left} agents know only the old CA: wait for them, deregister those that are gone for good, or give"
                " --force, after which they must enroll anew"
            )
        rotation.finish(directory.authority)
        print(
            f"{PROGRAM}: the old CA is dropped. Join tokens made before this are of no use any more: make new ones."
        )

    run_async(run)
    if any(exit_code):
        raise typer.Exit(1)


def check_schema(settings: Config) -> None:
    """What `migrate --check` shows."""

    async def run() -> None:
        import sqlalchemy as sa

        from ferryman_coordinator.data_dir import DataDirectory
        from ferryman_coordinator.store import migrate
        from ferryman_coordinator.upkeep.reader import reading

        async with reading(settings, DataDirectory(Path(settings.data_dir))) as connection:
            schema = str(await connection.scalar(sa.text("SELECT version_num FROM alembic_version")))
        migrate.demand_known(schema)
        if migrate.is_due(schema):
            raise SetupError(
                f"the database has schema {schema}, this version has {migrate.newest()}: take a backup, then run"
                " `migrate`, or start the coordinator"
            )
        print(f"{PROGRAM}: the database has schema {schema}, which is that of this version")

    run_async(run)


def doctor(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array instead of lines.")] = False,
) -> None:
    """Examine data directory, disk, certificates, ports, database, clock, S3 keys and alarm sources.

    Exit code 1 when something is broken; warnings alone are 0. It changes nothing, also while the coordinator runs.
    """
    settings = load_settings(config, {"data_dir": data_dir, "database.url": database_url})
    findings: list[Finding] = []

    async def run() -> None:
        from ferryman_coordinator.clock import SystemClock
        from ferryman_coordinator.upkeep.doctor import examine

        async for finding in examine(settings, SystemClock()):
            findings.append(finding)
            if not as_json:
                print(f"{finding.verdict:8} {finding.subject}: {finding.text}")
                if finding.remedy:
                    print(f"{'':8} -> {finding.remedy}")

    run_async(run)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    if any(finding.verdict == "broken" for finding in findings):
        raise typer.Exit(1)


def _at(instant: int | None) -> str:
    import datetime

    if instant is None:
        return "never"
    return f"{datetime.datetime.fromtimestamp(instant / 1000, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _show_rotation_steps(ca_file: str) -> None:
    print("What to do next:")
    print("  1. A coordinator that runs takes it up within seconds; agents renew by themselves.")
    print(
        f"  2. Hand out {ca_file} again: it holds both CAs now, and profiles with it work before and after --finish."
    )
    print("  3. `rotate-ca --status` until none is left, then `rotate-ca --finish`.")


def _show_backup(taken: Taken) -> None:
    manifest = taken.manifest
    parts = [
        f"{len(manifest.files)} files",
        f"{len(manifest.bundles)} bundles ({taken.bundles_copied} copied)",
    ]
    if manifest.database is not None:
        parts.insert(0, f"database of schema {manifest.schema}")
    print(f"{PROGRAM}: backup {taken.place}: {', '.join(parts)}; {taken.bytes_copied} bytes written")
    for sha256 in manifest.missing:
        print(f"  not there, so not in it: bundle {sha256}")


def _show_restore(restored: Restored, data_dir: str, database_url: str) -> None:
    manifest = restored.manifest
    print(f"{PROGRAM}: restored {data_dir} from {restored.place}, taken with version {manifest.version}")
    if restored.former is not None:
        print(f"  what was there before is in {restored.former}")
    if restored.ended:
        print(f"  {restored.ended} deployments that were under way then are ended as Failed (INTERNAL_ERROR)")
    print("What to do next:")
    steps = [
        "Give the directory to the coordinator's user if you are another (chown -R), and start the coordinator.",
        "Machines that enrolled, or whose certificate was renewed, after the backup are not known by it:"
        " `ferryman instance list` shows them as not connected. Enroll them again, with a token from"
        " `ferryman token create --join --instance-name NAME --replace-identity`.",
        "Deploy again to every group that was deployed to after the backup: the coordinator does not know of it.",
        "What was revoked after the backup is valid again: check users, access keys and join tokens.",
    ]
    if database_url:
        steps.insert(
            0, "Restore the database: pg_restore --clean --if-exists --no-owner --dbname=… ferryman.dump"
        )
    if restored.unfinished:
        steps.insert(1, "Deployments that were under way go on when it starts.")
    for number, step in enumerate(steps, 1):
        print(f"  {number}. {step}")
