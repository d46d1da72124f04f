"""Which instances belong to a deployment group: the union of all that it selects by (CP-050). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ferryman_coordinator.core.group_options import DEFAULT_OPTIONS, GroupOptions
from ferryman_coordinator.core.inventory import DeploymentGroup, InstanceKind, LifecycleState
from ferryman_coordinator.core.model import RolloutSpec
from ferryman_coordinator.core.tags import NO_SELECTION, Selection, Tag, matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What membership depends on, of one registered instance."""

    kind: InstanceKind
    tags: tuple[Tag, ...]
    auto_scaling_group: str = ""
    lifecycle_state: LifecycleState = LifecycleState.IN_SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The selectors of a group: as they are now, or as a deployment's snapshot has them (CP-179)."""

    # For instances of either kind.
    anyone: Selection = NO_SELECTION
    cloud: Selection = NO_SELECTION
    on_premises: Selection = NO_SELECTION
    auto_scaling_groups: frozenset[str] = frozenset()

    @classmethod
    def of(cls, selection: Selection, options: GroupOptions = DEFAULT_OPTIONS) -> Membership:
        return cls(
            anyone=selection,
            cloud=options.cloud_selection,
            on_premises=options.on_premises_selection,
            auto_scaling_groups=frozenset(options.auto_scaling_groups),
        )

    @classmethod
    def of_group(cls, group: DeploymentGroup) -> Membership:
        return cls.of(group.selection, group.options)

    @classmethod
    def of_snapshot(cls, spec: RolloutSpec) -> Membership:
        return cls.of(spec.selection, spec.options)

    @property
    def is_empty(self) -> bool:
        """Nothing could ever belong (CP-171)."""
        return not self.auto_scaling_groups and all(one.is_empty for one in self._selections)

    @property
    def _selections(self) -> Iterable[Selection]:
        return (self.anyone, self.cloud, self.on_premises)

    def includes(self, one: Candidate) -> bool:
        """Whether a fleet deployment takes this instance (CP-050, CP-058).

        A member of one of the autoscaling groups belongs while it is in service, and only then: before and after, its
        launch and termination deployments have it to themselves, whatever its tags are.
        """
        if one.lifecycle_state is LifecycleState.TERMINATED:
            return False
        if one.auto_scaling_group and one.auto_scaling_group in self.auto_scaling_groups:
            return one.lifecycle_state is LifecycleState.IN_SERVICE
        of_kind = self.cloud if one.kind is InstanceKind.CLOUD else self.on_premises
        return matches(self.anyone, one.tags) or matches(of_kind, one.tags)
