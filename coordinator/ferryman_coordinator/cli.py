"""`ferryman-coordinator serve | migrate | audit verify | check-config`: reads options, prints answers, no more.

The commands that look after a data directory are in `upkeep/cli.py`.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferryman_coordinator import __version__
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.hardening import harden
from ferryman_coordinator.memory import give_back_what_is_large
from ferryman_coordinator.options import PROGRAM, ConfigFile, DatabaseUrl, DataDir, load_settings, run_async
from ferryman_coordinator.upkeep.cli import add_commands

if TYPE_CHECKING:
    from ferryman_coordinator.app import Ready

app = typer.Typer(
    name=PROGRAM,
    help="The Ferryman coordinator: rolls revisions out over a fleet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

GrpcListen = Annotated[
    str | None,
    typer.Option(
        "--grpc-listen", help="People, tools, enrolment [127.0.0.1:7420].", show_default=False, metavar="H:P"
    ),
]
AgentsListen = Annotated[
    str | None,
    typer.Option("--agents-listen", help="Enrolled agents [port 7422].", show_default=False, metavar="H:P"),
]
HttpListen = Annotated[
    str | None,
    typer.Option(
        "--http-listen", help="Bundles, health, metrics [127.0.0.1:7421].", show_default=False, metavar="H:P"
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """The Ferryman coordinator."""


@app.command()
def serve(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    grpc_listen: GrpcListen = None,
    agents_listen: AgentsListen = None,
    http_listen: HttpListen = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Run the coordinator until SIGTERM or SIGINT; one JSON line on standard output says when it is ready."""
    flags = {
        "data_dir": data_dir,
        "listen.grpc": grpc_listen,
        "listen.agents": agents_listen,
        "listen.http": http_listen,
        "database.url": database_url,
    }
    settings = load_settings(config, flags)
    harden()
    give_back_what_is_large()

    async def run() -> None:
        from ferryman_coordinator.process import Coordinator
        from ferryman_coordinator.signals import stop_on_signals

        stop = asyncio.Event()
        stop_on_signals(stop)
        async with Coordinator.open(settings) as coordinator:
            await coordinator.run(_announce, stop)

    run_async(run)


@app.command()
def migrate(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Change nothing: exit code 0 when it is up to date, 1 when `migrate` has something to do.",
        ),
    ] = False,
) -> None:
    """Bring the database to the schema of this version, and say which that is.

    `serve` does the same. A copy of an SQLite database is kept beside it before its schema is changed.
    """
    settings = load_settings(config, {"data_dir": data_dir, "database.url": database_url})
    if check:
        from ferryman_coordinator.upkeep.cli import check_schema

        check_schema(settings)
        return

    async def run() -> None:
        from ferryman_coordinator.process import migrate_database

        schema = await migrate_database(settings)
        print(f"{PROGRAM} {__version__}: the database has schema {schema}")

    run_async(run)


audit = typer.Typer(no_args_is_help=True, help="The audit log, where the coordinator does not run.")
app.add_typer(audit, name="audit")


@audit.command()
def verify(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A file of JSON lines instead of the database.", show_default=False),
    ] = None,
) -> None:
    """Recount the chain of records; exit code 1 and the first one that does not fit when it is broken.

    While the coordinator runs, `ferryman audit verify` asks it to do the same.
    """
    settings = load_settings(config, {"data_dir": data_dir, "database.url": database_url})

    async def run() -> None:
        from ferryman_coordinator.process import verify_audit

        check = await verify_audit(settings, file)
        if not check.is_intact:
            raise SetupError(f"the audit log is broken at record {check.broken}: {check.problem}")
        print(f"{check.records} records, {check.first} to {check.last.sequence}, are as they were written")
        print(f"last hash: {check.last.hash}")

    run_async(run)


add_commands(app)


@app.command("check-config")
def check_config(config: ConfigFile = None) -> None:
    """List every mistake in the configuration, or show the settings in effect."""
    from ferryman_coordinator.config.reference import effective
    from ferryman_coordinator.log import without_secrets

    print(without_secrets(effective(load_settings(config, {}))), end="")


def _announce(ready: Ready) -> None:
    line = {
        "event": "coordinator.ready",
        "grpc": str(ready.grpc),
        "agents": str(ready.agents),
        "http": ready.http_url,
        "data_dir": ready.data_dir,
        "ca_fingerprint": ready.ca_fingerprint,
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Entry point of the command."""
    app()
