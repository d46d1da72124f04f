"""What Prometheus sees. Labels take few values each: kinds of calls and statuses, never names that people choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from ferryman_coordinator import __version__
from ferryman_coordinator.core.model import DeploymentStatus, Instant
from ferryman_coordinator.store.queries.events import Backlog

_PREFIX = "ferryman_"
_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class StoreFigures(Protocol):
    """Counted by the store."""

    @property
    def groups(self) -> int: ...
    @property
    def batches(self) -> int: ...
    @property
    def writes(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def failed_groups(self) -> int: ...
    @property
    def commit_seconds(self) -> float: ...


class EngineFigures(Protocol):
    """Counted by the engine."""

    @property
    def created(self) -> int: ...
    @property
    def ended(self) -> Mapping[DeploymentStatus, int]: ...
    @property
    def rollbacks(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def orders(self) -> int: ...
    @property
    def contradictions(self) -> int: ...
    @property
    def broken(self) -> int: ...
    @property
    def store_retries(self) -> int: ...


class NoticeFigures(Protocol):
    """Counted by those who tell the world."""

    @property
    def backlog(self) -> Backlog: ...
    @property
    def delivered(self) -> int: ...
    @property
    def failed(self) -> int: ...


class Metrics:
    """The registry of this process, and the counters that have no other home."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            f"{_PREFIX}api_calls", "Calls that ended, by how.", ("method", "code"), registry=self._registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}api_call_seconds",
            "How long calls with one request and one answer took.",
            registry=self._registry,
            buckets=_CALL_BUCKETS,
        )

    def call_ended(self, method: str, code: str, seconds: float | None) -> None:
        """Counts a call; `seconds` None for a stream, whose length says nothing."""
        self._calls.labels(method.removeprefix("/"), code).inc()
        if seconds is not None:
            self._seconds.observe(seconds)

    def observe(
        self,
        *,
        agents: Callable[[], int],
        deployments: Callable[[], int],
        drifted: Callable[[], int],
        store: StoreFigures,
        engine: EngineFigures,
    ) -> None:
        """Shows what others count, read at each scrape."""
        self._registry.register(_Figures(agents, deployments, drifted, store, engine))

    def observe_notices(self, figures: NoticeFigures, now: Callable[[], Instant]) -> None:
        """Shows how messages of triggers and rules fare, read at each scrape."""
        self._registry.register(_Notices(figures, now))

    def observe_alarms(self, watched: Callable[[], int], failing: Callable[[], int]) -> None:
        """Shows how many alarms are watched, and how many of their sources do not answer, read at each scrape."""
        self._registry.register(_Alarms(watched, failing))

    def observe_audit(self, stored: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Shows how many audit records this process has stored, and how many still wait, read at each scrape."""
        self._registry.register(_Audit(stored, waiting))

    def observe_scaling(self, waiting: Callable[[], int], loops: Callable[[], int]) -> None:
        """Shows how many autoscalers wait for an answer, and how many loops of launches there were, at each scrape."""
        self._registry.register(_Scaling(waiting, loops))

    def exposition(self) -> tuple[bytes, str]:
        """The text, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Scaling(Collector):
    def __init__(self, waiting: Callable[[], int], loops: Callable[[], int]) -> None:
        self._waiting = waiting
        self._loops = loops

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            f"{_PREFIX}lifecycle_actions_open",
            "Instances that launch or end and whose autoscaler waits for an answer.",
            self._waiting(),
        )
        yield CounterMetricFamily(
            f"{_PREFIX}launch_loops",
            "Times that three launches in a row were abandoned because of one deployment group.",
            self._loops(),
        )


class _Audit(Collector):
    def __init__(self, stored: Callable[[], int], waiting: Callable[[], int]) -> None:
        self._stored = stored
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(f"{_PREFIX}audit_records", "Audit records stored.", self._stored())
        yield GaugeMetricFamily(
            f"{_PREFIX}audit_records_waiting",
            "Audit records not yet stored; a number that stays says that the database cannot be written.",
            self._waiting(),
        )


class _Alarms(Collector):
    def __init__(self, watched: Callable[[], int], failing: Callable[[], int]) -> None:
        self._watched = watched
        self._failing = failing

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            f"{_PREFIX}alarms_watched", "Alarms that unfinished deployments watch.", self._watched()
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}alarm_sources_failing",
            "Sources of alarms that did not answer when they were asked last.",
            self._failing(),
        )


class _Figures(Collector):
    def __init__(
        self,
        agents: Callable[[], int],
        deployments: Callable[[], int],
        drifted: Callable[[], int],
        store: StoreFigures,
        engine: EngineFigures,
    ) -> None:
        self._agents = agents
        self._deployments = deployments
        self._drifted = drifted
        self._store = store
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(f"{_PREFIX}build", "The coordinator.", {"version": __version__})
        yield GaugeMetricFamily(f"{_PREFIX}agents_connected", "Agents with an open stream.", self._agents())
        yield GaugeMetricFamily(
            f"{_PREFIX}deployments_unfinished", "Deployments that are not final.", self._deployments()
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}instances_drifted",
            "Registered instances where installed files have changed.",
            self._drifted(),
        )
        yield from self._of_store()
        yield from self._of_engine()

    def _of_store(self) -> Iterator[Metric]:
        figures = self._store
        yield _counter("store_transactions", "Transactions committed or tried.", figures.groups)
        yield _counter(
            "store_transactions_failed", "Transactions that failed as a whole.", figures.failed_groups
        )
        yield _counter("store_transaction_seconds", "Time that they took in all.", figures.commit_seconds)
        yield _counter("store_batches", "Batches in them, each all or nothing.", figures.batches)
        yield _counter("store_batches_refused", "Batches that broke a constraint.", figures.refused)
        yield _counter("store_rows_written", "Rows written, removed or checked.", figures.writes)

    def _of_engine(self) -> Iterator[Metric]:
        figures = self._engine
        ended = CounterMetricFamily(
            f"{_PREFIX}deployments_ended", "Deployments that became final, by status.", labels=("status",)
        )
        for status in DeploymentStatus:
            if status.is_terminal:
                ended.add_metric((status.value,), figures.ended.get(status, 0))
        yield ended
        yield _counter("deployments_created", "Deployments accepted.", figures.created)
        yield _counter("deployments_rolled_back", "Automatic rollbacks ordered.", figures.rollbacks)
        yield _counter("deployments_broken", "Deployments given up because of an own fault.", figures.broken)
        yield _counter(
            "events_stored", "Events from agents, people and timers, decided and stored.", figures.events
        )
        yield _counter("orders_sent", "Commands offered to agents.", figures.orders)
        yield _counter(
            "reports_contradictory", "Reports that contradict what is known.", figures.contradictions
        )
        yield _counter(
            "store_retries", "Rounds that found no database and tried again.", figures.store_retries
        )


class _Notices(Collector):
    def __init__(self, figures: NoticeFigures, now: Callable[[], Instant]) -> None:
        self._figures = figures
        self._now = now

    def collect(self) -> Iterator[Metric]:
        backlog = self._figures.backlog
        waits = 0 if backlog.oldest is None else max(0, self._now() - backlog.oldest) / 1000
        yield GaugeMetricFamily(
            f"{_PREFIX}notices_waiting", "Messages that wait for their sinks.", backlog.waiting
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}notices_oldest_waiting_seconds", "How long the oldest of them has been waiting.", waits
        )
        yield GaugeMetricFamily(f"{_PREFIX}notices_dead", "Messages that were put aside.", backlog.dead)
        yield _counter("notices_delivered", "Messages that sinks took.", self._figures.delivered)
        yield _counter("notices_failed", "Attempts that sinks did not take.", self._figures.failed)


def _counter(name: str, help_text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}{name}", help_text, value)
