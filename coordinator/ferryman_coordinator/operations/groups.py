"""Deployment groups: create, get, list, update, delete, and what a selection matches (CP sections 3 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from typing import Protocol

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import scaling_hooks
from ferryman_coordinator.core.configs import DEFAULTS
from ferryman_coordinator.core.group_options import DEFAULT_OPTIONS, GroupOptions, Trigger
from ferryman_coordinator.core.inventory import Application, DeploymentConfig, DeploymentGroup, Instance
from ferryman_coordinator.core.membership import Membership
from ferryman_coordinator.core.model import AutoRollback, GroupId
from ferryman_coordinator.core.scaling import shared_warning
from ferryman_coordinator.core.scaling_hooks import ScalingHook
from ferryman_coordinator.core.tags import Selection, Tag
from ferryman_coordinator.errors import ConstraintBroken, Invalid, NotFound, NotMatched
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import (
    applications,
    configurations,
    group_options,
    group_settings,
    names,
    resource_tags,
)
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.batches import Found, check_size, missing_message
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.deployment_styles import check_zonal
from ferryman_coordinator.operations.scope import ScopeEnder
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.database import FOREIGN_KEY
from ferryman_coordinator.store.inventory_records import group_row
from ferryman_coordinator.store.queries import configurations as config_queries
from ferryman_coordinator.store.queries import groups as queries
from ferryman_coordinator.store.queries import instances as instance_queries
from ferryman_coordinator.store.queries import scaling as scaling_queries
from ferryman_coordinator.store.store import Store

OptionChange = Callable[[GroupOptions], GroupOptions]
"""Options as they are -> as they shall be. May raise Invalid."""

_QUOTA = "deployment groups"
_CONFIG = "deployment configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedGroup:
    """A group that was created or updated, and what its owner should know about it."""

    group: DeploymentGroup
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """One page of the instances that a selection matches, and how many there are in all (CP-060)."""

    page: Page[Instance]
    total: int


class AnnouncesTriggers(Protocol):
    """Sends the test messages of triggers."""

    async def announce(
        self, before: Sequence[Trigger], after: Sequence[Trigger], application: str, group: str
    ) -> tuple[str, ...]:
        """Test those of `after` that are new or changed; warnings about what was not delivered."""
        ...


class Groups:
    """What can be asked about deployment groups."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        known_applications: Applications,
        known_configurations: Configurations,
        running: ScopeEnder,
        herald: AnnouncesTriggers | None = None,
    ) -> None:
        """Without a `herald` triggers are saved untested."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._applications = known_applications
        self._configurations = known_configurations
        self._running = running
        self._herald = herald

    async def create(
        self,
        application_name: str,
        name: str,
        *,
        config_name: str = "",
        selection: Selection = Selection(),  # noqa: B008 - frozen
        auto_rollback: AutoRollback = AutoRollback(),  # noqa: B008 - frozen
        options: OptionChange | None = None,
        tags: Sequence[Tag] = (),
        requires_role: bool = False,
    ) -> SavedGroup:
        """A new group; without `config_name` it gets the platform's default (CP-120, CP-158, CP-159).

        `options` changes the platform's defaults; `tags` are labels of the group itself (CP-172); `requires_role` when
        the caller's door demands a service role (CP-018). Raises Invalid,
        NotFound (ApplicationDoesNotExistException, DeploymentConfigDoesNotExistException), Conflict
        (DeploymentGroupAlreadyExistsException), LimitExceeded.
        """
        application = await self._applications.get(application_name)
        names.GROUP.check(name, self._limits)
        config = await self._config(application, config_name)
        defaults = group_options.defaults(application.compute_platform)
        chosen = defaults if options is None else options(defaults)
        group = DeploymentGroup(
            group_id=GroupId(self._ids.guid()),
            application_id=application.application_id,
            application_name=application.name,
            compute_platform=application.compute_platform,
            name=name,
            config_name=config.name,
            selection=selection,
            auto_rollback=auto_rollback,
            created_at=self._clock.now(),
            options=chosen,
            hooks=self.hooks_for(name, (), chosen),
            resource_tags=resource_tags.check(tags, self._limits),
        )
        if requires_role and not group.options.service_role_arn:
            raise Invalid("RoleRequiredException", "the service role is missing: give its ARN")
        self._check(group, application, config)
        batch = Batch()
        quota = queries.fewer_than(self._limits.groups_per_application, application.application_id)
        batch.ensure(_QUOTA, quota)
        _ensure_config(batch, config)
        batch.insert(tables.deployment_groups, group_row(group))
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            raise await self._refused(group, broken) from broken
        return await self._announced(await self._saved(group, config), ())

    async def get(self, application_name: str, name: str) -> DeploymentGroup:
        """Raises Invalid, NotFound (ApplicationDoesNotExistException, DeploymentGroupDoesNotExistException)."""
        application = await self._applications.get(application_name)
        names.GROUP.check(name, self._limits)
        async with self._store.reading() as connection:
            group = await queries.find(connection, application.name, name)
        if group is None:
            raise group_settings.missing(application_name, name)
        return group

    async def several(self, application_name: str, wanted: Sequence[str]) -> Found[DeploymentGroup]:
        """Groups of one application by name, in that order; those that are missing are named (CP-463).

        Raises Invalid, LimitExceeded (BatchLimitExceededException), NotFound (ApplicationDoesNotExistException).
        """
        application = await self._applications.get(application_name)
        asked = list(dict.fromkeys(wanted)) or [""]
        check_size("deployment groups", asked, self._limits.groups_per_batch, "groups_per_batch")
        for name in asked:
            names.GROUP.check(name, self._limits)
        async with self._store.reading() as connection:
            found = await queries.several(connection, application.application_id, asked)
        return Found(
            items=tuple(found[name] for name in asked if name in found),
            message=missing_message("deployment group", [name for name in asked if name not in found]),
        )

    async def list(self, application_name: str, request: PageRequest) -> Page[DeploymentGroup]:
        """Groups by name; of every application when `application_name` is empty.

        Raises Invalid, NotFound (ApplicationDoesNotExistException).
        """
        application = await self._applications.get(application_name) if application_name else None
        application_id = application.application_id if application else None

        async def fetch(after: Key | None, limit: int) -> Sequence[DeploymentGroup]:
            async with self._store.reading() as connection:
                return await queries.after(connection, application_id, after or (), limit)

        return await self._store.cursors.page(
            ["groups", application_id], request, fetch, lambda group: (group.application_name, group.name)
        )

    async def update(
        self,
        application_name: str,
        name: str,
        *,
        new_name: str | None = None,
        config_name: str | None = None,
        selection: Selection | None = None,
        auto_rollback: AutoRollback | None = None,
        options: OptionChange | None = None,
    ) -> SavedGroup:
        """Change what is given, keep what is None (CP-173, CP-180); an empty selection clears it (CP-174, CP-175).

        Running deployments go on with the settings that they were created with (CP-179). Raises what `create` raises,
        and NotFound (DeploymentGroupDoesNotExistException).
        """
        group = await self.get(application_name, name)
        application = await self._applications.get(application_name)
        config = await self._config(application, group.config_name if config_name is None else config_name)
        if new_name is not None:
            names.GROUP.check(new_name, self._limits)
        if auto_rollback is not None and not auto_rollback.enabled and not auto_rollback.events:
            # Kept for when they are switched on again (CP-189).
            auto_rollback = replace(auto_rollback, events=group.auto_rollback.events)
        changed_options = group.options if options is None else options(group.options)
        hooks = group.hooks if options is None else self.hooks_for(group.name, group.hooks, changed_options)
        changed = replace(
            group,
            name=group.name if new_name is None else new_name,
            config_name=config.name,
            selection=group.selection if selection is None else selection,
            auto_rollback=group.auto_rollback if auto_rollback is None else auto_rollback,
            options=group_options.keeping_alarms(group.options, changed_options),
            hooks=hooks,
        )
        self._check(changed, application, config)
        await self._write_changes(group, changed, config)
        saved = await self._saved(await self.get(application_name, changed.name), config)
        return await self._announced(saved, group.options.triggers)

    async def delete(self, application_name: str, name: str) -> None:
        """Remove it; its deployments stay as history, and instances are left as they are (CP-181).

        A running deployment is ended first (CP-183). Deleting what is not there succeeds (CP-182). Raises Invalid.
        """
        try:
            group = await self.get(application_name, name)
        except NotFound:
            return
        await self._running.end_scope([group.group_id], "DEPLOYMENT_GROUP_MISSING")
        batch = Batch()
        batch.delete(tables.installations, {"group_id": group.group_id})
        batch.delete(tables.installed_states, {"group_id": group.group_id})
        batch.delete(tables.deployment_groups, {"group_id": group.group_id})
        await self._store.write(batch)
        # One may have been created while the group was still there.
        await self._running.end_scope([group.group_id], "DEPLOYMENT_GROUP_MISSING")

    async def matching(
        self,
        selection: Selection,
        request: PageRequest,
        options: GroupOptions = DEFAULT_OPTIONS,
    ) -> Matching:
        """The registered instances that would belong now to a group with that selection and the selectors of `options`,
        saved or not (CP-060). Raises Invalid, LimitExceeded.
        """
        group_options.check_selectors(selection, options, self._limits)
        membership = Membership.of(selection, options)
        async with self._store.reading() as connection:
            ids = await queries.matching(connection, membership)

        async def fetch(after: Key | None, limit: int) -> Sequence[Instance]:
            shown = [key for key in ids if after is None or key > after][:limit]
            async with self._store.reading() as connection:
                found = await instance_queries.several(connection, [instance_id for _, instance_id in shown])
            return [found[instance_id] for _, instance_id in shown if instance_id in found]

        page = await self._store.cursors.page(
            ["matching", membership], request, fetch, lambda one: (one.name, one.instance_id)
        )
        return Matching(page=page, total=len(ids))

    def hooks_for(
        self, name: str, before: Sequence[ScalingHook], options: GroupOptions
    ) -> tuple[ScalingHook, ...]:
        """The hooks of a group that is saved with these options (CP-396, CP-178)."""
        return scaling_hooks.installed(
            before,
            name,
            options.auto_scaling_groups,
            with_termination=options.termination_hook,
            now=self._clock.now(),
            draw=self._ids.guid,
        )

    def _check(self, group: DeploymentGroup, application: Application, config: DeploymentConfig) -> None:
        group_options.check_selectors(group.selection, group.options, self._limits)
        group_settings.check_auto_rollback(group.auto_rollback)
        group_options.check(group.options, application, self._limits)
        check_zonal(config, group.options)

    async def _config(self, application: Application, name: str) -> DeploymentConfig:
        config = await self._configurations.get(name or DEFAULTS[application.compute_platform])
        group_settings.check_platform(config, application)
        return config

    async def _write_changes(
        self, group: DeploymentGroup, changed: DeploymentGroup, config: DeploymentConfig
    ) -> None:
        before, after = group_row(group), group_row(changed)
        values = {column: value for column, value in after.items() if before[column] != value}
        if not values:
            return
        batch = Batch()
        _ensure_config(batch, config)
        batch.update(tables.deployment_groups, {"group_id": group.group_id}, values, expect=1)
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            raise await self._refused(changed, broken) from broken
        except NotMatched as gone:
            raise group_settings.missing(group.application_name, group.name) from gone

    async def _refused(self, group: DeploymentGroup, broken: ConstraintBroken) -> Exception:
        taken = group_settings.exists(group.application_name, group.name)
        if broken.name == tables.GROUP_NAME:
            return taken
        if broken.name == _CONFIG:
            return configurations.missing(group.config_name)
        if broken.name == FOREIGN_KEY:
            return applications.missing(group.application_name)
        if broken.name != _QUOTA:
            return broken
        # Of two mistakes the name is the one that the caller can mend.
        async with self._store.reading() as connection:
            if await queries.find(connection, group.application_name, group.name) is not None:
                return taken
        return group_settings.too_many(group.application_name, self._limits)

    async def _saved(self, group: DeploymentGroup, config: DeploymentConfig) -> SavedGroup:
        async with self._store.reading() as connection:
            count = await queries.count_matching(connection, Membership.of_group(group))
            shared = await scaling_queries.shared_with(connection, group)
        warnings = [*group_settings.warnings(group, config, count), *starmap(shared_warning, shared)]
        return SavedGroup(group=group, warnings=tuple(warnings))

    async def _announced(self, saved: SavedGroup, before: Sequence[Trigger]) -> SavedGroup:
        """Its new and changed triggers are tested once it is saved: none can stand in the way (CP-370, CP-371)."""
        group = saved.group
        if self._herald is None or not group.options.triggers:
            return saved
        undelivered = await self._herald.announce(
            before, group.options.triggers, group.application_name, group.name
        )
        return replace(saved, warnings=(*saved.warnings, *undelivered))


def _ensure_config(batch: Batch, config: DeploymentConfig) -> None:
    """It may be deleted between the check and the write."""
    if not config.is_predefined:
        batch.ensure(_CONFIG, config_queries.is_there(config.name))
