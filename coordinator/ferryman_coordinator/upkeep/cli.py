"""`ferryman-coordinator backup | restore | recover-admin`: reads options, prints answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.options import PROGRAM, ConfigFile, DatabaseUrl, DataDir, load_settings, run_async

if TYPE_CHECKING:
    from ferryman_coordinator.upkeep.backup import Taken
    from ferryman_coordinator.upkeep.restore import Restored


def add_commands(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(restore)
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
