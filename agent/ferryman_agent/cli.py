"""ferryman-agent enroll | run | status | stop: arguments, exit codes, and the only place that prints.

argparse, not typer as in the other commands: typer brings pydantic and rich, and the agent runs as root with as little
in it as can be (DEPENDENCIES, rule 4). What is heavy is imported inside the commands, so that `--version` answers at
once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ferryman_agent import __version__
from ferryman_agent.errors import AgentError

if TYPE_CHECKING:
    from ferryman_agent.overview import Overview

NOT_RUNNING = 3
UNKNOWN = 4
INTERRUPTED = 130
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05
FROM_STDIN = "-"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Ends with SystemExit: 0, 1 for what is refused, 2 for wrong usage; `status` has its own."""
    options = _parser().parse_args(arguments)
    # gRPC's C core writes its own lines to standard error; what matters comes to us as errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        raise SystemExit(options.command(options))
    except AgentError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ferryman-agent", description="The Ferryman agent: carries out deployments on this machine."
    )
    parser.add_argument("--version", action="version", version=f"ferryman-agent {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, action: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        about = (action.__doc__ or "").strip()
        added = commands.add_parser(name, help=about.partition(". ")[0].rstrip("."), description=about)
        added.set_defaults(command=action)
        # The original's spelling works as well (AG-018).
        added.add_argument(
            "--config",
            "--config_file",
            type=Path,
            metavar="FILE",
            help="configuration file (default: the system's)",
        )
        return added

    _enroll_options(command("enroll", _enroll))
    command("run", _run)
    status = command("status", _status)
    status.add_argument(
        "--json", action="store_true", dest="as_json", help="as JSON, with stable field names"
    )
    stop = command("stop", _stop)
    how = stop.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="let the lifecycle events that run end first")
    how.add_argument("--force", action="store_true", help="end the scripts that run; their events fail")
    return parser


def _enroll_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--coordinator",
        default="",
        metavar="HOST:PORT",
        help="the coordinator (default: from the configuration)",
    )
    add(
        "--token",
        default="",
        help="join token, from `ferryman token create --join`; - reads it from stdin (default: the identity file's)",
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument(
        "--ca-fingerprint",
        default="",
        metavar="sha256:HEX",
        help="of the coordinator's CA (default: from the token)",
    )
    trust.add_argument("--ca-file", type=Path, metavar="FILE", help="PEM file with the CA to trust")
    add(
        "--instance-name",
        default="",
        metavar="NAME",
        help="what to call this instance (default: the host name)",
    )
    add("--tag", action="append", default=[], metavar="KEY=VALUE", help="may be given several times")
    add("--zone", default="", help="availability zone of this instance")
    add("--force", action="store_true", help="replace an identity that is still valid")


def _enroll(options: argparse.Namespace) -> int:
    """Make this machine an instance of a coordinator."""
    from ferryman_agent import enrolling

    wishes = enrolling.Wishes(
        token=sys.stdin.readline() if options.token == FROM_STDIN else options.token,
        coordinator=options.coordinator,
        ca_fingerprint=options.ca_fingerprint,
        ca_file=options.ca_file,
        instance_name=options.instance_name,
        tags=tuple(options.tag),
        zone=options.zone,
        is_forced=options.force,
        config=options.config,
    )
    print(_plain(enrolling.enroll(wishes, os.environ)))
    return 0


def _run(options: argparse.Namespace) -> int:
    """Run the agent until it is stopped."""
    # structlog imports rich where it finds it, for coloured tracebacks that no agent shows: 5 MiB, and a tenth of a
    # second. None is how Python spells "not to be found" here, which the type of `sys.modules` does not know.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from ferryman_agent import app
    from ferryman_agent.config import load

    loaded = load(options.config, os.environ)
    app.run(loaded.config, loaded.warnings)
    return 0


def _status(options: argparse.Namespace) -> int:
    """Show what the agent does. Exit code 0: it runs, 3: it does not, 4: that cannot be told."""
    overview = _overview(options)
    print(overview.as_json() if options.as_json else _plain(overview.as_text()))
    return 0 if overview.is_running else NOT_RUNNING


def _stop(options: argparse.Namespace) -> int:
    """Stop the agent. Refused while a lifecycle event runs, unless --wait or --force is given."""
    overview = _overview(options)
    if not overview.is_running:
        print("no ferryman-agent is running")
        return 0
    running = overview.running_commands
    if not (options.wait or options.force) and running != []:
        _fail(_refusal(running))
    # Two different signals: two of one kind may arrive as one. The second one ends what runs.
    for number in (signal.SIGTERM, signal.SIGQUIT) if options.force else (signal.SIGTERM,):
        _send(overview.pid, number)
    patience = STOP_SECONDS + (overview.drain_seconds if options.wait else 0)
    if _wait_until(lambda: not _overview(options).is_running, patience):
        print("stopped")
        return 0
    if not options.force:
        _fail(f"the agent (PID {overview.pid}) has not ended within {patience:.0f} s")
    _send(overview.pid, signal.SIGKILL)
    _wait_until(lambda: not _overview(options).is_running, STOP_SECONDS)
    print(f"the agent (PID {overview.pid}) was killed", file=sys.stderr)
    return 0


def _overview(options: argparse.Namespace) -> Overview:
    from ferryman_agent.config import load
    from ferryman_agent.overview import gather

    try:
        return gather(load(options.config, os.environ))
    except OSError as error:
        _fail(f"cannot tell whether the agent runs: {error}", UNKNOWN)


def _refusal(running: list[dict[str, Any]] | None) -> str:
    if running is None:
        return "cannot tell whether a lifecycle event runs; use --wait to let it end, or --force to end it"
    events = ", ".join(f"{each['lifecycle_event']} of {each['deployment_id']}" for each in running)
    return f"the agent is in the middle of {events}: use --wait to let it end first, or --force to end it"


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        _fail(f"cannot stop the agent (PID {pid}): it belongs to another user; try as root")


def _wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _fail(message: str, code: int = 1) -> NoReturn:
    print(f"ferryman-agent: {_plain(message)}", file=sys.stderr)
    raise SystemExit(code)


def _plain(text: str) -> str:
    """Control characters but line ends made visible: root reads here what a coordinator says, whoever that is."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
