"""Builds the engine for one local deployment and starts it: configuration, directories, log, ids."""

from __future__ import annotations

import asyncio
import gc
import os
import string
from dataclasses import replace
from pathlib import Path

from ferryman_agent import wiring
from ferryman_agent.clock import SystemClock
from ferryman_agent.config import Config, load
from ferryman_agent.core.messages import BundleType, DeploymentId, EventStatus, RevisionSource, Segment
from ferryman_agent.files.layout import Layout
from ferryman_agent.local import plan
from ferryman_agent.local.installed import installed_deployment
from ferryman_agent.local.location import Location
from ferryman_agent.local.run import LocalDeployment
from ferryman_agent.local.screen import Screen
from ferryman_agent.local.wish import Wish
from ferryman_agent.log import AgentLog, LogStyle, set_up
from ferryman_agent.wiring import demand_directories, log_settings

LOG_NAME = "codedeploy-local"
SUCCEEDED, FAILED, SIGNALLED = 0, 1, 128
_ALPHABET = string.ascii_uppercase + string.digits


def start(wish: Wish, draft: plan.Draft, location: Location, found: plan.Found | None) -> int:
    """Runs the deployment; returns the exit code. Raises AgentError for what keeps it from starting."""
    screen = Screen(quiet=wish.quiet, as_json=wish.as_json)
    loaded = load(wish.configuration, os.environ)
    for warning in loaded.warnings:
        screen.warn(warning)
    config = loaded.config
    # What is in the directories of such an agent, its user can change: nothing of it may run as root.
    wiring.become_user(config)
    layout = wiring.layout(config)
    segment, shown = _segment(wish, draft, location, found, config, layout)
    if wish.dry_run:
        from ferryman_agent.local.dry_run import dry_run

        return dry_run(config, layout, segment, shown, screen)
    demand_directories(config)
    handler = _log(config)
    gc.freeze()
    gc.enable()
    try:
        return _run(config, layout, segment, shown, screen)
    finally:
        handler.close()


def new_id() -> DeploymentId:
    """Returns an id of the original's form that no other deployment has (AG-475)."""
    # Not by `secrets`, which takes OpenSSL along.
    number, letters = int.from_bytes(os.urandom(16), "big"), ""
    for _ in range(9):
        number, rest = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[rest]
    return DeploymentId(f"d-{letters}-local")


def _segment(
    wish: Wish,
    draft: plan.Draft,
    location: Location,
    found: plan.Found | None,
    config: Config,
    layout: Layout,
) -> tuple[Segment, str]:
    """Returns the command, and what it deploys, for people."""
    headers: tuple[tuple[str, str], ...] = ()
    if wish.no_install:
        directory = installed_deployment(layout, wish.group, draft)
        nowhere = RevisionSource(url=directory.archive.as_uri(), bundle_type=BundleType.TAR)
        ident = DeploymentId(directory.path.name)
        segment = plan.segment(
            wish, draft, deployment_id=ident, application=str(directory.archive), revision=nowhere
        )
        return segment, f"the installed revision {directory.archive}"
    if found is not None:
        revision = plan.local_revision(found, location)
        application = found.path if wish.location is None else location.shown
    else:
        # Signing an address is nothing that a local directory should wait for.
        from ferryman_agent.local.remote import revision_of

        revision, headers = revision_of(
            location, os.environ, on_premises=Path(config.coordinator.on_premises_file)
        )
        application = location.shown
    segment = plan.segment(
        wish, draft, deployment_id=new_id(), application=application, revision=revision, headers=headers
    )
    return segment, location.shown


def _run(config: Config, layout: Layout, segment: Segment, shown: str, screen: Screen) -> int:
    deployment = segment.deployment
    directory = layout.deployment(deployment.deployment_group_id, deployment.deployment_id)
    work = LocalDeployment(config, layout, SystemClock(), segment, screen)
    screen.begins(segment, revision=shown, folder=directory.path)
    status = asyncio.run(work.run())
    screen.ends(deployment.deployment_id, status, directory.scripts_log)
    if work.ended_by is not None and status is not EventStatus.SUCCEEDED:
        return SIGNALLED + work.ended_by
    return SUCCEEDED if status is EventStatus.SUCCEEDED else FAILED


def _log(config: Config) -> AgentLog:
    """A log file of its own beside the agent's: two processes cannot rotate one file."""
    settings = log_settings(config)
    style = LogStyle.TEXT if settings.style is LogStyle.JOURNAL else settings.style
    return set_up(replace(settings, program_name=LOG_NAME, style=style), SystemClock())
