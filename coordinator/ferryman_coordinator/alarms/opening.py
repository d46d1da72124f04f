"""Makes the sources that the settings name."""

from __future__ import annotations

from collections.abc import Mapping

from ferryman_coordinator.alarms.alertmanager import AskedAlertmanagerSource
from ferryman_coordinator.alarms.cloudwatch import CloudWatchSource
from ferryman_coordinator.alarms.meaning import StrictSource
from ferryman_coordinator.alarms.probes import ProbeSource
from ferryman_coordinator.alarms.prometheus import PrometheusSource
from ferryman_coordinator.alarms.pushed import AlertmanagerSource, PushSource, WebhookSource
from ferryman_coordinator.alarms.source import AlarmSource
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.alarm_sources import (
    AlarmSourceKind,
    AlarmSourceSettings,
    InsufficientData,
)
from ferryman_coordinator.store.store import Store


def open_sources(
    settings: Mapping[str, AlarmSourceSettings], store: Store, clock: Clock
) -> tuple[tuple[AlarmSource, ...], dict[str, PushSource]]:
    """All sources in the order of the settings, and by name those that are posted to. Asks nobody."""
    sources: list[AlarmSource] = []
    posted: dict[str, PushSource] = {}
    for name, one in settings.items():
        source: AlarmSource
        match one.kind:
            case AlarmSourceKind.PROMETHEUS:
                source = PrometheusSource(name, one)
            case AlarmSourceKind.HTTP:
                source = ProbeSource(name, one)
            case AlarmSourceKind.CLOUDWATCH:
                source = CloudWatchSource(name, one)
            case AlarmSourceKind.ALERTMANAGER if one.url:
                source = AskedAlertmanagerSource(name, one)
            case AlarmSourceKind.ALERTMANAGER:
                source = posted[name] = AlertmanagerSource(name, one, store, clock)
            case AlarmSourceKind.WEBHOOK:
                source = posted[name] = WebhookSource(name, one, store, clock)
        is_strict = one.insufficient_data is not InsufficientData.OK
        sources.append(StrictSource(source, one.insufficient_data) if is_strict else source)
    return tuple(sources), posted
