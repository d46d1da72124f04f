"""The argument tree of ferryman-agent.

argparse, not typer as in the other commands: typer brings pydantic and rich, and the agent runs as root with as little
in it as can be (DEPENDENCIES, rule 4). Apart from the commands, since the agent itself lets go of it once it is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from ferryman_agent import __version__

Action = Callable[[SimpleNamespace], int]
"""A command: takes what was asked for, returns the exit code."""


def read(given: Sequence[str], actions: Mapping[str, Action]) -> SimpleNamespace:
    """Returns what was asked for, `command` among it. Ends the process for --help, --version (0) and misuse (2)."""
    return SimpleNamespace(**vars(parser(actions).parse_args(given)))


def parser(actions: Mapping[str, Action]) -> argparse.ArgumentParser:
    """All commands; each is described by the text of its action."""
    parser = argparse.ArgumentParser(
        prog="ferryman-agent", description="The Ferryman agent: carries out deployments on this machine."
    )
    parser.add_argument("--version", action="version", version=f"ferryman-agent {__version__}")
    _config_option(parser, default=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str) -> argparse.ArgumentParser:
        action = actions[name]
        about = (action.__doc__ or "").strip()
        added = commands.add_parser(name, help=about.partition(". ")[0].rstrip("."), description=about)
        added.set_defaults(command=action)
        # It may stand before the command as well: what the command does not say must not hide that.
        _config_option(added, default=argparse.SUPPRESS)
        return added

    _enroll_options(command("enroll"))
    commands.add_parser("deploy-local", help="Deploy a revision on this machine, without a coordinator")
    _profile_option(command("run"))
    _json_option(command("status"))
    command("start")
    for name in ("stop", "restart"):
        how = command(name).add_mutually_exclusive_group()
        how.add_argument("--wait", action="store_true", help="let the lifecycle events that run end first")
        how.add_argument("--force", action="store_true", help="end the scripts that run; their events fail")
    command("reload")
    config = command("config")
    config.add_argument("--show", action="store_true", help="print every setting and where it came from")
    _json_option(config)
    _profile_option(config)
    _json_option(command("doctor"))
    _json_option(command("history"))
    forget = command("forget-revision")
    forget.add_argument("--group", required=True, metavar="GROUP", help="deployment group, by id or name")
    collect = command("gc")
    collect.add_argument(
        "--remove",
        "--group",
        dest="group",
        metavar="GROUP",
        help="remove the data of this one, by id or name",
    )
    collect.add_argument(
        "--uninstall", action="store_true", help="with --remove: what the group has installed as well"
    )
    _json_option(collect)
    logs = command("logs")
    logs.add_argument("--deployment", metavar="ID", help="of this deployment (default: of the newest)")
    logs.add_argument("--follow", "-f", action="store_true", help="go on with what comes")
    return parser


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", dest="as_json", help="as JSON, with stable field names"
    )


def _profile_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", metavar="NAME", help="defaults to take: default, compat or strict")


def _config_option(parser: argparse.ArgumentParser, *, default: object) -> None:
    # The original's spelling works as well (AG-018).
    parser.add_argument(
        "--config",
        "--config_file",
        type=Path,
        metavar="FILE",
        default=default,
        help="configuration file (default: the system's)",
    )


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
    add(
        "--kind",
        choices=("on-premises", "cloud"),
        default="",
        help="cloud: the instance is known by its provider's id (default: cloud with --instance-id or --provider)",
    )
    add(
        "--instance-id",
        default="",
        metavar="ID",
        help="the provider's id of a cloud instance, i-… (default: its provider is asked)",
    )
    add(
        "--provider",
        choices=("aws",),
        default="",
        help="have this provider's metadata service vouch for the instance; then --token may be left out",
    )
    add("--force", action="store_true", help="replace an identity that is still valid")
