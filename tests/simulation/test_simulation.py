"""The real core against pretend instances in virtual time, with every kind of trouble (STYLE section 8)."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.model import DeploymentStatus, TargetStatus, ZonalConfig
from tests.simulation.instances import Instance
from tests.simulation.judge import Scenario, simulate
from tests.simulation.network import CALM, ROUGH
from tests.support.rollouts import at_a_time, count, percent


@pytest.mark.req("CP-426", "CP-430", "T79")
@pytest.mark.parametrize("seed", range(2))
def test_thousand_instances_in_rough_weather(seed: int) -> None:
    """Lost, repeated, late messages; agents, hosts and the coordinator die; still everything adds up."""
    coordinator = simulate(Scenario(seed=seed, instances=1_000, unhealthy=30, faults=ROUGH))

    assert coordinator.restarts > 0, "the coordinator was meant to die in between"
    assert coordinator.is_over


@pytest.mark.req("CP-430")
@pytest.mark.parametrize("seed", range(100, 140))
def test_small_fleets_in_rough_weather(seed: int) -> None:
    minimum = [percent(0), percent(50), percent(90), count(3), at_a_time(1)][seed % 5]
    zonal = ZonalConfig(monitor_seconds=30) if seed % 3 == 0 else None
    simulate(
        Scenario(
            seed=seed,
            instances=20,
            unhealthy=seed % 4,
            zones=("a", "b", "c"),
            faults=ROUGH,
            stop_after_ms=120_000 if seed % 4 == 0 else None,
            options={"minimum": minimum, "zonal": zonal},
        )
    )


@pytest.mark.req("CP-273")
def test_thousand_instances_in_calm_weather() -> None:
    coordinator = simulate(Scenario(seed=1, instances=1_000, faults=CALM))

    assert coordinator.rollout is not None
    assert coordinator.rollout.record.status is DeploymentStatus.SUCCEEDED
    assert coordinator.rollout.overview.succeeded == 1_000


def test_same_seed_same_course() -> None:
    """The same inputs give the same outcomes, faults and all."""
    first, second = (simulate(Scenario(seed=5, instances=200, faults=ROUGH)) for _ in range(2))

    assert first.handled == second.handled
    assert first.kept.record == second.kept.record
    assert first.kept.targets == second.kept.targets
    assert first.kept.events == second.kept.events


@pytest.mark.req("CP-237", "CP-322")
@pytest.mark.parametrize("seed", range(3))
def test_stop_of_a_large_rollout(seed: int) -> None:
    coordinator = simulate(Scenario(seed=seed, instances=500, faults=ROUGH, stop_after_ms=30_000))

    assert coordinator.kept.record is not None
    assert coordinator.kept.record.status is DeploymentStatus.STOPPED
    assert any(one.status is TargetStatus.SKIPPED for one in coordinator.kept.targets.values())


def test_judge_is_not_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that did not do what it reported is found, with the seed and its story."""
    monkeypatch.setattr(Instance, "tell", _forget_a_result)

    with pytest.raises(
        AssertionError, match=r"(?s)seed 3: mi-\d+ shows .*did not run every event well.*begins"
    ):
        simulate(Scenario(seed=3, instances=5))


def _forget_a_result(self: Instance, what: str) -> None:
    self.story.append(what)
    if what.startswith("ends ValidateService"):
        self.results.pop("Install")
