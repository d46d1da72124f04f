"""One simulated deployment, and whether what the coordinator says of it is what really happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ferryman_coordinator.core.lifecycle import event_names
from ferryman_coordinator.core.model import DeploymentStatus, EventStatus, TargetStatus
from tests.simulation.coordinator import Coordinator
from tests.simulation.instances import Instance
from tests.simulation.network import CALM, Faults, World
from tests.support.clock import START
from tests.support.rollouts import fleet, fleet_spec, percent


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`options` go into the RolloutSpec; `stop_after_ms` None: nobody stops it."""

    seed: int
    instances: int
    unhealthy: int = 0
    zones: tuple[str, ...] = ("",)
    faults: Faults = CALM
    stop_after_ms: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


def simulate(scenario: Scenario) -> Coordinator:
    """Run it to its end and judge it; a wrong verdict shows the seed and the story of the instance."""
    world = World(scenario.seed, scenario.faults, START)
    options = {"minimum": percent(50)} | scenario.options
    members = fleet(scenario.instances, unhealthy=scenario.unhealthy, zones=scenario.zones)
    coordinator = Coordinator(world, fleet_spec(**options), members)
    if scenario.stop_after_ms is not None:
        world.after(scenario.stop_after_ms, lambda: coordinator.stop("alice"))
    try:
        world.run(lambda: coordinator.is_over)
        _judge(coordinator)
    except AssertionError as wrong:
        raise AssertionError(f"seed {scenario.seed}: {wrong}") from wrong
    return coordinator


def _judge(coordinator: Coordinator) -> None:
    kept, names = coordinator.kept, event_names(coordinator.spec.path)
    restored = kept.restore(coordinator.spec)
    restored.check()
    record = restored.record
    for whose, target in kept.targets.items():
        instance = coordinator.instances[whose]
        shown = {name: one.status for name, one in kept.events.get(whose, {}).items()}

        def demand(is_true: bool, what: str, instance: Instance = instance, shown: Any = shown) -> None:
            if not is_true:
                lines = [f"{instance.instance_id} shows {shown}: {what}", *instance.story]
                raise AssertionError("\n  ".join(lines))

        demand(target.status.is_terminal, "it never ended")
        demand(all(times == 1 for times in instance.executed.values()), "a hook was run twice")
        if target.status is TargetStatus.SUCCEEDED:
            demand(list(shown) == list(names), "it has succeeded, but not every event is shown")
            demand(
                all(map(instance.results.get, names)), "it has succeeded, but did not run every event well"
            )
        elif target.status is TargetStatus.SKIPPED:
            demand(not instance.executed, "it ran although it was skipped")
        else:
            _demand_reason(coordinator, instance, demand)
        for name, status in shown.items():
            if status is EventStatus.SUCCEEDED:
                demand(instance.results.get(name) is True, f"{name} did not succeed")
    failed = sum(target.status is TargetStatus.FAILED for target in kept.targets.values())
    succeeded = sum(target.status is TargetStatus.SUCCEEDED for target in kept.targets.values())
    if record.status is DeploymentStatus.SUCCEEDED:
        assert succeeded >= 1, "it succeeded without a success"
        assert record.counted - failed >= record.minimum, "it succeeded with too few healthy"
    assert (record.error is not None) is (record.status is not DeploymentStatus.SUCCEEDED)


def _demand_reason(coordinator: Coordinator, instance: Instance, demand: Any) -> None:
    """A failed target has something to show for it."""
    reasons = (
        not all(instance.results.values()),
        instance.is_host_dead,
        instance.is_hung,
        instance.has_restarted,
        coordinator.kept.record is not None and coordinator.kept.record.stop is not None,
    )
    demand(any(reasons), "it failed for no reason")
