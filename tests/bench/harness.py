"""How a row of `make bench` is written, and how its figure is judged.

Any other module of this folder registers rows:

    @row("core.event", what="rollout core, 1,000 targets", unit="µs/event", budget=20)
    def core_event(options: Options) -> Figure:
        ...
        return Figure(value=elapsed / events, reference=bare, reference_name="heap only")

Lower is better unless the row says otherwise. A reference is measured in the same run: only the ratio of the two
can be compared with another day's.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a row is told. `quick` asks for a run of seconds that only shows that the row works."""

    quick: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a row measured, in the row's unit. `details` are further figures for the JSON file, units in their names."""

    value: float
    reference: float | None = None
    reference_name: str = ""
    details: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times the reference it is; None without one."""
        return self.value / self.reference if self.reference else None


Measure = Callable[[Options], Figure | Awaitable[Figure]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `budget` is in the row's unit, `ratio_budget` is a multiple of the reference."""

    name: str
    what: str
    unit: str
    measure: Measure
    budget: float | None = None
    ratio_budget: float | None = None
    higher_is_better: bool = False
    timeout: float = 900.0  # seconds

    def verdict(self, figure: Figure) -> str:
        """ "ok", "over" (a budget is missed) or "" (there is none to miss)."""
        pairs = [(figure.value, self.budget), (figure.ratio, self.ratio_budget)]
        judged = [
            value >= budget if self.higher_is_better else value <= budget
            for value, budget in pairs
            if value is not None and budget is not None
        ]
        if not judged:
            return ""
        return "ok" if all(judged) else "over"


_registry: dict[str, Row] = {}


def row(
    name: str,
    *,
    what: str,
    unit: str,
    budget: float | None = None,
    ratio_budget: float | None = None,
    higher_is_better: bool = False,
    timeout: float = 900.0,
) -> Callable[[Measure], Measure]:
    """Register a function, plain or async, as a row; see the module text. Raises ValueError for a name in use."""

    def register(measure: Measure) -> Measure:
        if name in _registry:
            raise ValueError(f"two bench rows are called {name!r}")
        _registry[name] = Row(
            name=name,
            what=what,
            unit=unit,
            measure=measure,
            budget=budget,
            ratio_budget=ratio_budget,
            higher_is_better=higher_is_better,
            timeout=timeout,
        )
        return measure

    return register


def all_rows() -> list[Row]:
    """Every row of every module in this folder, in the order of module names and lines."""
    for name in sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])):
        if name not in {"__main__", "harness"}:
            importlib.import_module(f"tests.bench.{name}")
    return list(_registry.values())


async def run(chosen: Row, options: Options) -> Figure:
    """Carry out one row in this process."""
    result = chosen.measure(options)
    return await result if inspect.isawaitable(result) else result
