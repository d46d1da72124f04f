"""From the target of a trigger or rule to the sink that the settings have for it (CP-374)."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from ferryman_coordinator.config.sinks import PayloadForm, Sink, SinkKind
from ferryman_coordinator.notices.message import Outlet
from ferryman_coordinator.notices.sns import SnsOutlet
from ferryman_coordinator.notices.webhook import PostOutlet


class Sinks:
    """Those of the settings, each with one outlet that is made when it is needed."""

    def __init__(self, settings: Mapping[str, Sink]) -> None:
        self._settings = settings
        self._outlets: dict[str, Outlet] = {}

    def name_of(self, target: str) -> str | None:
        """The sink for a target: by its name, its ARN, or a pattern, the longest first; None when there is none."""
        if target in self._settings:
            return target
        for name, sink in self._settings.items():
            if sink.arn == target:
                return name
        patterns = [(name, sink.arn) for name, sink in self._settings.items() if "*" in sink.arn]
        for name, pattern in sorted(patterns, key=lambda one: (-len(one[1]), one[0])):
            if fnmatchcase(target, pattern):
                return name
        return None

    def outlet(self, target: str) -> Outlet | None:
        """The way to the sink for a target; None when there is no such sink."""
        name = self.name_of(target)
        if name is None:
            return None
        if name not in self._outlets:
            self._outlets[name] = _outlet(name, self._settings[name])
        return self._outlets[name]

    def is_observed(self, target: str) -> bool:
        """Whether its messages have the form that consumers of the original see (CP-379)."""
        name = self.name_of(target)
        return name is not None and self._settings[name].payload is PayloadForm.OBSERVED

    async def close(self) -> None:
        """Lets go of all connections."""
        for outlet in self._outlets.values():
            await outlet.close()


def no_sink(target: str) -> str:
    """What to say where `outlet` gives None."""
    return (
        f"no sink stands for {target}: give it one under `sinks` in the coordinator's settings, start the coordinator"
        " again, and send what waits with `ferryman trigger replay`"
    )


def _outlet(name: str, sink: Sink) -> Outlet:
    return SnsOutlet(name, sink) if sink.kind is SinkKind.SNS else PostOutlet(name, sink)
