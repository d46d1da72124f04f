"""The options of a local deployment (AG 15.1): the argument tree, and what was asked for as it was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ferryman_agent import __version__

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Deploy a revision on this machine with the agent's own engine: no coordinator, no enrolment, no configuration needed.
Without options, the current directory is deployed. Exit code: 0 the deployment succeeded, 1 it failed or could not
start, 2 wrong arguments."""

EPILOG = """\
environment: FERRYMAN_GITHUB_TOKEN or GITHUB_TOKEN for private repositories; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL_S3 for s3:// locations. They never reach a script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """None is what was not said. Nothing is checked yet."""

    location: str | None = None
    bundle_type: str | None = None
    file_exists_behavior: str | None = None
    adopt: bool = False
    group: str = "default-local-deployment-group"
    group_name: str = "LocalFleet"
    application: str | None = None
    events: str | None = None
    appspec: str | None = None
    configuration: Path | None = None
    no_install: bool = False
    simulate_traffic: bool = False
    dry_run: bool = False
    quiet: bool = False
    as_json: bool = False


def read_arguments(arguments: Sequence[str], *, program: str) -> Wish:
    """Returns what the command line asks for. Ends the process for --help, --version (0) and wrong usage (2)."""
    found = _parser(program).parse_args(arguments)
    return Wish(**vars(found))


def _parser(program: str) -> argparse.ArgumentParser:
    # Only now: the agent imports this module too, and reads no arguments with it.
    import argparse

    # No abbreviations: a script that uses one would change its meaning with the next option of ours.
    parser = argparse.ArgumentParser(
        prog=program,
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _what_and_where(parser.add_argument)
    _how(parser.add_argument)
    parser.add_argument("-v", "--version", action="version", version=f"{program} {__version__}")
    return parser


def _what_and_where(add: Callable[..., object]) -> None:
    add(
        "-l",
        "--bundle-location",
        dest="location",
        metavar="LOCATION",
        help="local path, s3://BUCKET/KEY[?versionId=…&etag=…], a pre-signed https address of an object in S3,"
        " https://github.com/OWNER/REPO, or https://api.github.com/repos/OWNER/REPO/(zipball|tarball)/REF"
        " (default: the current directory)",
    )
    add(
        "-t",
        "--type",
        dest="bundle_type",
        metavar="TYPE",
        help="tgz, tar, zip or directory (default: by what is there, or by its name)",
    )
    add(
        "-b",
        "--file-exists-behavior",
        metavar="BEHAVIOR",
        help="DISALLOW, OVERWRITE or RETAIN files that are there already (default: DISALLOW; the AppSpec file wins)",
    )
    add(
        "--adopt",
        action="store_true",
        help="take over files that other deployment groups have installed at the same paths",
    )
    add(
        "-g",
        "--deployment-group",
        dest="group",
        metavar="GROUP",
        help="directory below root_dir, or the ID of a real deployment group, to go on with that"
        " (default: default-local-deployment-group)",
    )
    add(
        "-d",
        "--deployment-group-name",
        dest="group_name",
        metavar="NAME",
        help="DEPLOYMENT_GROUP_NAME for scripts (default: LocalFleet)",
    )
    add(
        "-a",
        "--application-name",
        dest="application",
        metavar="NAME",
        help="APPLICATION_NAME for scripts (default: the location)",
    )


def _how(add: Callable[..., object]) -> None:
    add(
        "-e",
        "--events",
        metavar="A,B,C",
        help="lifecycle events to run, in order, custom ones too; DownloadBundle and Install run first unless listed",
    )
    add(
        "-c",
        "--agent-configuration-file",
        "--config",
        "--config_file",
        dest="configuration",
        type=Path,
        metavar="FILE",
        help="configuration file (default: the agent's, where there is one)",
    )
    add(
        "-A",
        "--appspec-filename",
        dest="appspec",
        metavar="NAME",
        help="name of the AppSpec file (default: appspec.yml, then appspec.yaml)",
    )
    add(
        "--no-install",
        action="store_true",
        help="run --events of the installed revision; download and install nothing",
    )
    add(
        "--simulate-traffic",
        action="store_true",
        help="rehearse BlockTraffic and AllowTraffic too: they are said to succeed, nothing is done",
    )
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add("-q", "--quiet", action="store_true", help="do not show what scripts print")
    add(
        "--json",
        dest="as_json",
        action="store_true",
        help="the result as JSON on standard output, nothing else",
    )
