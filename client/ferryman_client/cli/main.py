"""The command tree of `ferryman`. A command's module is imported when it is called, so that each starts quickly."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ferryman_client import __version__

# Command -> module that holds it as `app`, and the line for the list of commands.
_COMMANDS = {
    "deploy": ("deploy", "Deploy a revision to a deployment group."),
    "deployment": ("deployments", "Deployments: follow, stop, retry, read their logs."),
    "push": ("push", "Store a bundle and register it as a revision."),
    "lint": ("lint", "Check AppSpec files and bundles."),
    "application": ("applications", "Applications: what is deployed."),
    "group": ("groups", "Deployment groups: where an application goes."),
    "config": ("configs", "Deployment configurations: how fast, and what counts as success."),
    "revision": ("revisions", "Revisions: versions of an application."),
    "tag": ("tags", "Labels of applications and deployment groups themselves."),
    "search": ("search", "Find what has a text in its name."),
    "instance": ("instances", "Instances: registered machines with an agent."),
    "token": ("tokens", "Tokens: who may enrol an instance, and who is let in."),
    "github-token": ("github_tokens", "Tokens for GitHub: what private repositories are read with."),
    "alarm": ("alarms", "Alarms: what stops a deployment, and how it is now."),
    "autoscaling": ("autoscaling", "Instances that come and go by themselves, and who waits for them."),
    "events": ("events", "Follow what happens: deployments and instances, as it happens."),
    "trigger": ("triggers", "Triggers: who is told, and messages that did not arrive."),
    "rule": ("rules", "Notification rules: who is told of the deployments of an application."),
    "user": ("users", "Users: people and services, and what they were granted."),
    "role": ("roles", "Roles: who may do what, on what."),
    "access-key": ("access_keys", "Access keys: what tools that speak CodeDeploy's API sign with."),
    "access": ("access", "Rights: ask what a call would be told, without making it."),
    "whoami": ("whoami", "Who you are to the coordinator, and what you may."),
    "audit": ("audit", "The audit log: who asked for what, and what was decided."),
    "profile": ("profile", "Profiles: which coordinator, and who we are there."),
}


class LazyGroup(TyperGroup):
    """Loads a command's module when the command is asked for."""

    # Any: the types of these are private to typer.
    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module, short_help = _COMMANDS[cmd_name]
        loaded = importlib.import_module(f"ferryman_client.cli.{module}")
        command = typer.main.get_command(loaded.app)
        command.name = cmd_name
        command.short_help = short_help
        return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Deploys application revisions to your machines, and keeps enough of them healthy meanwhile.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ferryman {__version__}")
        raise typer.Exit


@app.callback()
def top(
    profile: Annotated[
        str,
        typer.Option(
            "--profile", envvar="FERRYMAN_PROFILE", help="Profile to use instead of the current one."
        ),
    ] = "",
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Runs before every command."""
    del version
    if profile:
        from ferryman_client.cli.session import choose_profile

        choose_profile(profile)


def main() -> None:
    """Entry point of the `ferryman` command."""
    # gRPC's C core writes its own lines to standard error; what matters comes to us as errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        app(prog_name="ferryman")
    except OSError as problem:
        # Our own files and what we print to: errors of the coordinator's are handled where they are met.
        from ferryman_client.cli.render import print_error

        print_error(f"cannot use {problem.filename or 'the output'}: {problem.strerror or problem}")
        sys.exit(1)
