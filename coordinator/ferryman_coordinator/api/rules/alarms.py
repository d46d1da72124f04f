"""Alarms, which have no resource of their own."""

from __future__ import annotations

from ferryman_coordinator.api.rules.needs import on, rule
from ferryman_coordinator.core.rights import FERRYMAN

ALARMS = {
    name: rule(f"{FERRYMAN}{name}", on(f"{FERRYMAN}{name}", lambda _request: None))
    for name in ("ListAlarms", "TestAlarm")
}
