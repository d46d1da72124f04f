"""Deployment configurations: predefined and custom (CP section 6). They never change once they are made (CP-132)."""

from __future__ import annotations

from collections.abc import Sequence

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import configs
from ferryman_coordinator.core.inventory import ComputePlatform, DeploymentConfig, TrafficRouting
from ferryman_coordinator.core.model import MinimumHealthyHosts, ZonalConfig
from ferryman_coordinator.errors import Conflict, ConstraintBroken, Invalid, LimitExceeded, NotFound
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.applications import check_platform
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.inventory_records import config_row
from ferryman_coordinator.store.queries import configurations as queries
from ferryman_coordinator.store.store import Store

_QUOTA = "custom configurations"
_IN_USE = "configuration in use"
_SHOWN_USERS = 3


class Configurations:
    """What can be asked about deployment configurations."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, limits: Limits, run_cap_ms: int) -> None:
        """`run_cap_ms`: how long a deployment may take, which no bake time may exceed (CP-143)."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._run_cap_ms = run_cap_ms

    async def create(
        self,
        name: str,
        platform: ComputePlatform | str = ComputePlatform.SERVER,
        *,
        minimum: MinimumHealthyHosts | None = None,
        zonal: ZonalConfig | None = None,
        traffic_routing: TrafficRouting | None = None,
    ) -> DeploymentConfig:
        """A new custom configuration (CP-123 to CP-130).

        Raises Invalid, Conflict (DeploymentConfigAlreadyExistsException), LimitExceeded.
        """
        if name in configs.PREDEFINED:
            raise _exists(name)
        names.CUSTOM_CONFIG.check(name, self._limits)
        config = DeploymentConfig(
            config_id=self._ids.guid(),
            name=name,
            compute_platform=check_platform(platform),
            minimum=minimum,
            zonal=zonal,
            traffic_routing=traffic_routing,
            created_at=self._clock.now(),
        )
        self._check(config)
        batch = Batch()
        batch.ensure(_QUOTA, queries.fewer_than(self._limits.custom_configurations))
        batch.insert(tables.deployment_configs, config_row(config))
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            raise await self._refused(name, broken) from broken
        return config

    async def get(self, name: str) -> DeploymentConfig:
        """Raises Invalid, NotFound (DeploymentConfigDoesNotExistException)."""
        if name not in configs.PREDEFINED:
            names.CONFIG.check(name, self._limits)
        if (config := await self._find(name)) is None:
            raise missing(name)
        return config

    async def list(self, request: PageRequest) -> Page[DeploymentConfig]:
        """Predefined and custom ones together, by name (CP-116); raises Invalid for a bad page."""

        async def fetch(after: Key | None, limit: int) -> Sequence[DeploymentConfig]:
            behind = str(after[0]) if after else ""
            async with self._store.reading() as connection:
                custom = await queries.after(connection, behind, limit)
            predefined = [config for config in configs.PREDEFINED.values() if config.name > behind]
            return sorted([*custom, *predefined], key=lambda config: config.name)[:limit]

        return await self._store.cursors.page(
            ["configurations"], request, fetch, lambda config: (config.name,)
        )

    async def delete(self, name: str) -> None:
        """Remove a custom one; what is not there is removed successfully (CP-134).

        Raises Invalid, Conflict (InvalidOperationException for a predefined one, DeploymentConfigInUseException).
        """
        if name in configs.PREDEFINED:
            raise Conflict(
                "InvalidOperationException", f"configuration {name!r} is predefined and cannot be deleted"
            )
        names.CONFIG.check(name, self._limits)
        batch = Batch()
        batch.ensure(_IN_USE, queries.is_unused(name))
        batch.delete(tables.deployment_configs, {"name": name})
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            raise await self._in_use(name) from broken

    def _check(self, config: DeploymentConfig) -> None:
        try:
            configs.validate(
                config.name,
                config.compute_platform,
                minimum=config.minimum,
                zonal=config.zonal,
                routing=config.traffic_routing,
                run_cap_ms=self._run_cap_ms,
            )
        except configs.ConfigurationProblem as problem:
            raise Invalid(problem.reason, problem.message) from problem

    async def _find(self, name: str) -> DeploymentConfig | None:
        if name in configs.PREDEFINED:
            return configs.PREDEFINED[name]
        async with self._store.reading() as connection:
            return await queries.find(connection, name)

    async def _refused(self, name: str, broken: ConstraintBroken) -> Exception:
        if broken.name == tables.CONFIG_NAME:
            return _exists(name)
        if broken.name != _QUOTA:
            return broken
        # Of two mistakes the name is the one that the caller can mend.
        if await self._find(name) is not None:
            return _exists(name)
        return LimitExceeded(
            "DeploymentConfigLimitExceededException",
            f"there are {self._limits.custom_configurations} custom configurations, the most that are allowed: "
            "delete one, or raise limits.custom_configurations in the coordinator's configuration",
        )

    async def _in_use(self, name: str) -> Conflict:
        async with self._store.reading() as connection:
            groups, running = await queries.users(connection, name)
        users = [
            *(f"deployment group {group}" for group in groups),
            *(f"deployment {one}" for one in running),
        ]
        more = f" and {len(users) - _SHOWN_USERS} more" if len(users) > _SHOWN_USERS else ""
        return Conflict(
            "DeploymentConfigInUseException",
            f"configuration {name!r} is in use by {', '.join(users[:_SHOWN_USERS]) or 'a deployment'}{more}: "
            "give those groups another configuration, wait for those deployments, then delete it",
        )


def missing(name: str) -> NotFound:
    """No configuration has that name."""
    return NotFound(
        "DeploymentConfigDoesNotExistException",
        f"deployment configuration {names.shown(name)} does not exist; `ferryman config list` shows those that do",
    )


def _exists(name: str) -> Conflict:
    return Conflict(
        "DeploymentConfigAlreadyExistsException",
        f"deployment configuration {name!r} exists already and cannot be changed: choose another name",
    )
