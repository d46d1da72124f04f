"""Where alarms come from: what a source in the settings can say, and what cannot be right about it (CP-364)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ferryman_coordinator.config.sinks import wrong_address
from ferryman_coordinator.config.values import Duration


class AlarmSourceKind(StrEnum):
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    WEBHOOK = "webhook"
    HTTP = "http"
    CLOUDWATCH = "cloudwatch"


class InsufficientData(StrEnum):
    OK = "ok"
    UNREADABLE = "unreadable"
    ALARM = "alarm"


class Probe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alarm of a source of kind http: an address, and what its answer means.

    `status`: any other one is an alarm. `field`: a value in a JSON answer, as names and numbers with dots between them;
    it is an alarm when it is one of `alarm`, none of `ok`, above `above` or below `below`, whichever of them are given.
    """

    url: str
    status: int = 200
    field: str = ""
    ok: tuple[str, ...] = ()
    alarm: tuple[str, ...] = ()
    above: float | None = None
    below: float | None = None

    @property
    def judges(self) -> bool:
        """Whether something is said about the field's value."""
        return bool(self.ok or self.alarm or self.above is not None or self.below is not None)


class AlarmSourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that alarms come from. Groups name an alarm as the source spells it, or as `SOURCE/ALARM`."""

    kind: Annotated[
        AlarmSourceKind,
        Meta(
            description="prometheus: asks a server for its alerting rules, and for queries of your own. alertmanager:"
            " asks one, or without `url` takes what it posts to /alarms/SOURCE. webhook: takes what anybody"
            " with the token posts to /alarms/SOURCE/ALARM. http: asks addresses. cloudwatch: asks"
            " CloudWatch, or what speaks like it."
        ),
    ]
    url: Annotated[
        str,
        Meta(
            description="Of the server, such as https://prometheus.example.org:9090; for cloudwatch the endpoint, and"
            " empty: Amazon's."
        ),
    ] = ""
    token_file: Annotated[
        str,
        Meta(
            description="A file with a token and nothing else: sent to whoever is asked, demanded of whoever posts."
            " Read anew each time."
        ),
    ] = ""
    ca_file: Annotated[
        str, Meta(description="Certificates (PEM) that the other end's is checked with; empty: the system's.")
    ] = ""
    timeout: Annotated[Duration, Meta(description="What one question may take; from 100ms to 8s.")] = (
        Duration(5_000)
    )
    insufficient_data: Annotated[
        InsufficientData,
        Meta(
            description="What it means that a source has no data for an alarm: ok lets deployments go on, unreadable"
            " and alarm are as if it could not be read, or were active."
        ),
    ] = InsufficientData.OK
    queries: Annotated[
        dict[str, str],
        Meta(
            description="For prometheus: alarms by name, each with a PromQL expression. It is active while that has a"
            " result."
        ),
    ] = msgspec.field(default_factory=dict)
    rules: Annotated[
        bool, Meta(description="For prometheus: whether the server's alerting rules are alarms too.")
    ] = True
    probes: Annotated[
        dict[str, Probe],
        Meta(
            description="For http: alarms by name, each with `url` and what its answer means (`status`, `field` with"
            " `ok`, `alarm`, `above`, `below`)."
        ),
    ] = msgspec.field(default_factory=dict)
    alerts: Annotated[
        tuple[str, ...],
        Meta(
            description="For alertmanager: the alert names that are alarms. Others that are posted do not count, for"
            " nobody could tell one that does not fire from one that does not exist."
        ),
    ] = ()
    watchdog: Annotated[
        str,
        Meta(
            description="For alertmanager: an alert that fires always, as a sign of life. Without one, silence means"
            " that all is well."
        ),
    ] = ""
    silent_after: Annotated[
        Duration,
        Meta(description="For alertmanager: all its alarms are unreadable so long after the last watchdog."),
    ] = Duration(15 * 60_000)
    repeated_within: Annotated[
        Duration,
        Meta(
            description="For alertmanager: an alert that fires and is not repeated for so long is unreadable. More than"
            " its repeat_interval."
        ),
    ] = Duration(12 * 3_600_000)
    region: Annotated[
        str, Meta(description="For cloudwatch; empty: what AWS_REGION, the profile, or us-east-1 say.")
    ] = ""
    credentials_file: Annotated[
        str,
        Meta(
            description="For cloudwatch: a file with aws_access_key_id and aws_secret_access_key under [default]."
            " Empty: the environment, ~/.aws, or the machine's own role. The key needs cloudwatch:DescribeAlarms."
        ),
    ] = ""
    profile: Annotated[str, Meta(description="For cloudwatch: which part of the file; empty: default.")] = ""


_LEAST_TIMEOUT = 100
_MOST_TIMEOUT = 8_000

_NAME_LENGTH = 255

_BELONGS = {
    "url": {AlarmSourceKind.PROMETHEUS, AlarmSourceKind.ALERTMANAGER, AlarmSourceKind.CLOUDWATCH},
    "token_file": {
        AlarmSourceKind.PROMETHEUS,
        AlarmSourceKind.HTTP,
        AlarmSourceKind.ALERTMANAGER,
        AlarmSourceKind.WEBHOOK,
    },
    "ca_file": {
        AlarmSourceKind.PROMETHEUS,
        AlarmSourceKind.ALERTMANAGER,
        AlarmSourceKind.HTTP,
        AlarmSourceKind.CLOUDWATCH,
    },
    "queries": {AlarmSourceKind.PROMETHEUS},
    "rules": {AlarmSourceKind.PROMETHEUS},
    "probes": {AlarmSourceKind.HTTP},
    "alerts": {AlarmSourceKind.ALERTMANAGER},
    "watchdog": {AlarmSourceKind.ALERTMANAGER},
    "silent_after": {AlarmSourceKind.ALERTMANAGER},
    "repeated_within": {AlarmSourceKind.ALERTMANAGER},
    "region": {AlarmSourceKind.CLOUDWATCH},
    "credentials_file": {AlarmSourceKind.CLOUDWATCH},
    "profile": {AlarmSourceKind.CLOUDWATCH},
}
"""Settings that not every kind has."""

_NEEDED = {
    AlarmSourceKind.PROMETHEUS: ("url", "where is the server? Write https://HOST:9090"),
    AlarmSourceKind.ALERTMANAGER: ("alerts", "which alerts are alarms?"),
    AlarmSourceKind.WEBHOOK: ("token_file", "who may post? Name a file with a token"),
    AlarmSourceKind.HTTP: ("probes", "which alarms are there? Give each a name, with its url below"),
}


def mistakes(sources: Mapping[str, AlarmSourceSettings]) -> Iterator[tuple[str, str]]:
    """What is wrong about them, with the setting's name below `alarms.sources`."""
    for name, source in sources.items():
        if not name or "/" in name or not name.isprintable() or name != name.strip():
            yield name, "a source's name is plain text without a slash: alarms are written SOURCE/ALARM"
        defaults = AlarmSourceSettings(kind=source.kind)
        for field, kinds in _BELONGS.items():
            if source.kind not in kinds and getattr(source, field) != getattr(defaults, field):
                yield f"{name}.{field}", f"is nothing that a source of kind {source.kind} has: leave it out"
        field, question = _NEEDED.get(source.kind, ("kind", ""))
        if not getattr(source, field):
            yield f"{name}.{field}", f"is missing: {question}"
        if not _LEAST_TIMEOUT <= source.timeout <= _MOST_TIMEOUT:
            yield f"{name}.timeout", f"{source.timeout} is not between 100ms and 8s"
        yield from _contents(name, source)


def _contents(name: str, source: AlarmSourceSettings) -> Iterator[tuple[str, str]]:
    with_token = bool(source.token_file)
    if source.url and (wrong := wrong_address(source.url, allow_http=not with_token)):
        yield f"{name}.url", wrong
    if source.kind is AlarmSourceKind.ALERTMANAGER and not source.url and not source.token_file:
        yield (
            f"{name}.token_file",
            "is missing: who may post? Name a file with a token, or ask it at its `url`",
        )
    for query, expression in source.queries.items():
        if not expression.strip():
            yield (
                f"{name}.queries.{query}",
                "is empty: write a PromQL expression that has a result in an alarm",
            )
    for probe, what in source.probes.items():
        if wrong := wrong_address(what.url, allow_http=not with_token):
            yield f"{name}.probes.{probe}.url", wrong
        if bool(what.field) != what.judges:
            yield (
                f"{name}.probes.{probe}",
                "`field` and what its value means (ok, alarm, above, below) go together",
            )
    for alarm in (*source.queries, *source.probes, *source.alerts):
        if not 0 < len(alarm) <= _NAME_LENGTH:
            yield (
                name,
                f"the alarm name {alarm[:20]!r} has {len(alarm)} characters, 1 to {_NAME_LENGTH} are allowed",
            )
