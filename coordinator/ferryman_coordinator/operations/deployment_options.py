"""What whoever deploys may say, and the checks of it that need no look at what is running (CP-227)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.group_options import AlarmConfiguration
from ferryman_coordinator.core.inventory import Application, ComputePlatform, DeploymentGroup
from ferryman_coordinator.core.model import (
    AutoRollback,
    BundleLocation,
    FileExistsBehavior,
    GitHubLocation,
    RevisionLocation,
)
from ferryman_coordinator.engine.creation import CreateOrder
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations import group_options, group_settings, names
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.deployment_styles import (
    TargetInstances,
    check_target_instances,
    check_zonal,
)
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.operations.locations import check_location
from ferryman_coordinator.operations.revisions import Inspector, check_platform, unpinned_warnings

_HIGHEST_SEQUENCE = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentOptions:
    """What whoever deploys may say. None and empty texts stand for what the group says."""

    application_name: str
    group_name: str
    revision: RevisionLocation | None
    config_name: str = ""
    description: str = ""
    ignore_application_stop_failures: bool = False
    file_exists_behavior: FileExistsBehavior | str = FileExistsBehavior.DISALLOW
    adopt: bool = False
    update_outdated_instances_only: bool = False
    auto_rollback: AutoRollback | None = None
    # Instead of the group's; whoever gives it must be allowed to update the group (CP-214).
    override_alarms: AlarmConfiguration | None = None
    target_instances: TargetInstances | None = None
    # 0: none. Else it must be above that of every earlier deployment of the group (CP-231).
    sequence: int = 0


class Sources(Protocol):
    """The places outside of the coordinator that revisions lie in."""

    async def pin(self, location: RevisionLocation) -> tuple[RevisionLocation, Sequence[str]]:
        """The location of exactly what is there now, and warnings; raises Refused when that cannot be deployed."""
        ...


class OptionChecks:
    """The first half of a creation, and of a plan."""

    def __init__(
        self,
        applications: Applications,
        groups: Groups,
        configurations: Configurations,
        inspector: Inspector,
        sources: Sources,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._applications = applications
        self._groups = groups
        self._configurations = configurations
        self._inspector = inspector
        self._sources = sources

    async def scope(self, options: DeploymentOptions) -> tuple[Application, DeploymentGroup]:
        """Where it is to go. Raises Invalid, NotFound."""
        application = await self._applications.get(options.application_name)
        if application.compute_platform is not ComputePlatform.SERVER:
            _check_flags(application, options)
            raise Invalid(
                "InvalidComputePlatformException",
                f"application {application.name!r} is on {application.compute_platform}: "
                "this version deploys to instances (Server) only",
            )
        return application, await self._groups.get(application.name, options.group_name)

    async def check(
        self, application: Application, group: DeploymentGroup, options: DeploymentOptions, request_key: str
    ) -> CreateOrder:
        """All the rest, in the order of CP-227: raises the first mistake, Invalid or NotFound."""
        config = await self._configurations.get(options.config_name or group.config_name)
        group_settings.check_platform(config, application)
        if config.minimum is None:
            raise Invalid(
                "InvalidDeploymentConfigNameException", f"configuration {config.name!r} has no minimum"
            )
        check_zonal(config, group.options)
        revision = _with_link(application, check_location(options.revision))
        check_platform(application, revision)
        names.check_description(options.description)
        check_target_instances(options.target_instances, group, self._limits)
        rollback = group.auto_rollback if options.auto_rollback is None else options.auto_rollback
        group_settings.check_auto_rollback(rollback)
        if options.override_alarms is not None:
            group_options.check_alarms(options.override_alarms, self._limits)
        if options.sequence > _HIGHEST_SEQUENCE:
            raise Invalid(
                "InvalidInputException",
                f"the sequence {options.sequence} is too high: {_HIGHEST_SEQUENCE} is the highest one",
            )
        behavior = _file_exists_behavior(options.file_exists_behavior)
        group_options.check_role(group.options.service_role_arn)
        return CreateOrder(
            group=group,
            override_alarms=options.override_alarms,
            config_name=config.name,
            minimum=config.minimum,
            zonal=config.zonal,
            revision=revision,
            auto_rollback=rollback,
            description=options.description,
            ignore_application_stop_failures=options.ignore_application_stop_failures,
            file_exists_behavior=behavior,
            adopt=options.adopt,
            update_outdated_instances_only=options.update_outdated_instances_only,
            request_key=request_key,
            sequence=options.sequence,
        )

    async def pin(self, revision: RevisionLocation) -> tuple[RevisionLocation, tuple[str, ...]]:
        """The revision with what is left open settled, and warnings about the archive itself.

        Raises what the inspector and the sources refuse, before any instance is touched (CP-199, TS-78).
        """
        if isinstance(revision, BundleLocation):
            return revision, tuple(await self._inspector.inspect(revision))
        pinned, warnings = await self._sources.pin(revision)
        # What a store says is stored, shown and sent on like what a caller says.
        return check_location(pinned), (*unpinned_warnings(revision), *warnings)


def _check_flags(application: Application, options: DeploymentOptions) -> None:
    """CP-221."""
    for is_set, name in (
        (options.update_outdated_instances_only, "UpdateOutdatedInstancesOnly"),
        (options.ignore_application_stop_failures, "IgnoreApplicationStopFailures"),
    ):
        if is_set:
            raise Invalid(
                f"Invalid{name}ValueException",
                f"{name} is for instances (Server), application {application.name!r} is on "
                f"{application.compute_platform}: leave it out",
            )


def _with_link(application: Application, location: RevisionLocation) -> RevisionLocation:
    """A commit without a token of its own is fetched with the one that the application is linked with (CP-156)."""
    if isinstance(location, GitHubLocation) and not location.token_name:
        return replace(location, token_name=application.github_account_name)
    return location


def _file_exists_behavior(text: FileExistsBehavior | str) -> FileExistsBehavior:
    """CP-217."""
    try:
        return FileExistsBehavior(text)
    except ValueError:
        known = ", ".join(FileExistsBehavior)
        raise Invalid(
            "InvalidFileExistsBehaviorException", f"{names.shown(text)} is not one of {known}"
        ) from None
