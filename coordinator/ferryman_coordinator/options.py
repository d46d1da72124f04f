"""What every command of `ferryman-coordinator` shares: its options, its settings, and how it runs and fails."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import structlog
import typer

from ferryman_coordinator.errors import SetupError

if TYPE_CHECKING:
    from ferryman_coordinator.config import Config

PROGRAM = "ferryman-coordinator"

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="FERRYMAN_COORDINATOR_CONFIG",
        help="Configuration file (YAML).",
        show_default=False,
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", help="Keys, bundles and the embedded database.", show_default=False),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="postgresql://user@host/name instead of SQLite.", show_default=False),
]


def load_settings(path: Path | None, flags: dict[str, str | None]) -> Config:
    from ferryman_coordinator import log
    from ferryman_coordinator.config import load

    try:
        settings = load(path, os.environ, {name: value for name, value in flags.items() if value is not None})
    except SetupError as error:
        fail(error)
    log.configure(settings.log.level)
    return settings


def run_async(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # gRPC's C part writes lines of its own to standard error, which are no JSON and tell nothing that ours do not.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work())
    except SetupError as error:
        fail(error)
    except Exception:
        # As a line of the log, not as a bare traceback beside it.
        structlog.get_logger(__name__).critical("coordinator.broken", exc_info=True)
        raise typer.Exit(1) from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def fail(error: SetupError) -> NoReturn:
    typer.echo(f"{PROGRAM}: {error}", err=True)
    raise typer.Exit(1)
