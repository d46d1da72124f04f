"""Notification rules: create, get, list, update, delete (CP-384 to CP-391)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.payloads import Origin
from ferryman_coordinator.core.rules import (
    DetailType,
    NotificationRule,
    RuleEvent,
    RuleStatus,
    RuleTarget,
    RuleTargetType,
    rule_event_named,
)
from ferryman_coordinator.errors import (
    Conflict,
    ConstraintBroken,
    Invalid,
    LimitExceeded,
    NotFound,
    NotMatched,
)
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.notices.sinks import Sinks
from ferryman_coordinator.operations import applications, names
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.groups import Groups
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.database import FOREIGN_KEY
from ferryman_coordinator.store.event_records import rule_row
from ferryman_coordinator.store.queries import rules as queries
from ferryman_coordinator.store.store import Store

_QUOTA = "notification rules"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ARN = re.compile(r"arn:[^:\s]+:[^:\s]+:[^:\s]*:[^:\s]*:\S{1,900}")
_SINK = re.compile(r"\S{1,256}")
_MOST_TARGETS = 10
_MOST_GROUPS = 100
_RESOURCE = "notificationrule/"


class NotificationRules:
    """What can be asked about them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        origin: Origin,
        sinks: Sinks,
        known_applications: Applications,
        known_groups: Groups,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._origin = origin
        self._sinks = sinks
        self._applications = known_applications
        self._groups = known_groups

    async def create(
        self,
        name: str,
        *,
        application_name: str = "",
        group_names: Sequence[str] = (),
        events: Sequence[str],
        targets: Sequence[RuleTarget],
        status: RuleStatus = RuleStatus.ENABLED,
        detail_type: DetailType = DetailType.FULL,
    ) -> NotificationRule:
        """A new rule; without `application_name` it is about every application.

        Raises Invalid, NotFound, Conflict (ResourceAlreadyExistsException), LimitExceeded.
        """
        application_id = ""
        if application_name:
            application_id = (await self._applications.get(application_name)).application_id
        now = self._clock.now()
        rule = NotificationRule(
            rule_id=self._ids.guid(),
            arn="",
            name=_check_name(name),
            application_id=application_id,
            application_name=application_name,
            group_ids=await self._group_ids(application_name, group_names),
            group_names=tuple(group_names),
            events=_check_events(events),
            targets=_check_targets(targets),
            status=status,
            detail_type=detail_type,
            created_at=now,
            updated_at=now,
        )
        batch = Batch()
        batch.ensure(_QUOTA, queries.fewer_than(self._limits.notification_rules))
        batch.insert(tables.notification_rules, rule_row(rule))
        await self._write(batch, rule)
        return self._with_arns(rule)

    async def get(self, key: str) -> NotificationRule:
        """By name, id or ARN. Raises Invalid, NotFound (ResourceNotFoundException)."""
        if not key:
            raise Invalid("ValidationException", "which notification rule? Give its name, id or ARN")
        async with self._store.reading() as connection:
            found = await queries.get(connection, key.rpartition(_RESOURCE)[2])
        if found is None:
            raise _missing(key)
        return self._with_arns(found)

    async def list(self, request: PageRequest, application_name: str = "") -> Page[NotificationRule]:
        """By name; those of one application, or all. Raises Invalid, NotFound."""
        application_id = None
        if application_name:
            application_id = (await self._applications.get(application_name)).application_id

        async def fetch(after: Key | None, limit: int) -> Sequence[NotificationRule]:
            async with self._store.reading() as connection:
                found = await queries.after(connection, application_id, after or (), limit)
            return [self._with_arns(rule) for rule in found]

        return await self._store.cursors.page(
            ["notification-rules", application_id], request, fetch, lambda rule: (rule.name,)
        )

    async def update(
        self,
        key: str,
        *,
        new_name: str | None = None,
        group_names: Sequence[str] | None = None,
        events: Sequence[str] = (),
        targets: Sequence[RuleTarget] = (),
        status: RuleStatus | None = None,
        detail_type: DetailType | None = None,
    ) -> NotificationRule:
        """Change what is given; what happened before is told as the rule was then. Raises as `create` and `get`."""
        rule = await self.get(key)
        changed = replace(
            rule,
            name=rule.name if new_name is None else _check_name(new_name),
            group_ids=rule.group_ids
            if group_names is None
            else await self._group_ids(rule.application_name, group_names),
            events=_check_events(events) if events else rule.events,
            targets=_check_targets(targets) if targets else rule.targets,
            status=status or rule.status,
            detail_type=detail_type or rule.detail_type,
            updated_at=self._clock.now(),
        )
        values = rule_row(changed)
        del values["rule_id"]
        batch = Batch()
        batch.update(tables.notification_rules, {"rule_id": rule.rule_id}, values, expect=1)
        await self._write(batch, changed)
        return await self.get(rule.rule_id)

    async def delete(self, key: str) -> None:
        """Nobody hears of anything by it any more; what is under way still arrives. One that is gone stays gone."""
        try:
            rule = await self.get(key)
        except NotFound:
            return
        batch = Batch()
        batch.delete(tables.notification_rules, {"rule_id": rule.rule_id})
        await self._store.write(batch)

    def warnings(self, rule: NotificationRule) -> Sequence[str]:
        """About targets that nothing stands behind yet (CP-374)."""
        return [
            f"no sink stands for {target.address}: what is to go there is put aside until `sinks` in the coordinator's"
            " settings has one"
            for target in rule.targets
            if self._sinks.name_of(target.address) is None
        ]

    async def _group_ids(self, application_name: str, wanted: Sequence[str]) -> tuple[str, ...]:
        if wanted and not application_name:
            raise Invalid(
                "ApplicationNameRequiredException",
                f"deployment group {names.shown(wanted[0])} is of which application? Give its name",
            )
        if len(wanted) > _MOST_GROUPS:
            raise Invalid("ValidationException", f"a rule names at most {_MOST_GROUPS} deployment groups")
        return tuple([(await self._groups.get(application_name, name)).group_id for name in wanted])

    async def _write(self, batch: Batch, rule: NotificationRule) -> None:
        try:
            await self._store.write(batch)
        except NotMatched as gone:
            raise _missing(rule.name) from gone
        except ConstraintBroken as broken:
            if broken.name == tables.RULE_NAME:
                raise Conflict(
                    "ResourceAlreadyExistsException",
                    f"there is a notification rule {names.shown(rule.name)} already: choose another name, or change"
                    f" that one with `ferryman rule update {rule.name}`",
                ) from broken
            if broken.name == FOREIGN_KEY or broken.name.startswith("fk_"):
                raise applications.missing(rule.application_name) from broken
            if broken.name != _QUOTA:
                raise
            raise LimitExceeded(
                "LimitExceededException",
                f"there are {self._limits.notification_rules} notification rules, the most that are allowed: delete"
                " one, or raise limits.notification_rules in the coordinator's configuration",
            ) from broken

    def _with_arns(self, rule: NotificationRule) -> NotificationRule:
        origin = self._origin
        return replace(
            rule,
            arn=f"arn:aws:codestar-notifications:{origin.region}:{origin.account_id}:{_RESOURCE}{rule.rule_id}",
            resource_arn=origin.application_arn(rule.application_name) if rule.application_name else "",
        )


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(
            "ValidationException",
            f"notification rule name {names.shown(name)} is not valid: it has 1 to 64 letters, digits, - and _",
        )
    return name


def _check_events(texts: Sequence[str]) -> tuple[RuleEvent, ...]:
    if not texts:
        raise Invalid("ValidationException", f"a notification rule needs an event type: {_event_names()}")
    found = []
    for text in texts:
        event = rule_event_named(text)
        if event is None:
            raise Invalid(
                "ValidationException",
                f"there is no event type {names.shown(text)}; there are {_event_names()}",
            )
        found.append(event)
    return tuple(dict.fromkeys(found))


def _event_names() -> str:
    return ", ".join(event.short for event in RuleEvent)


def _check_targets(targets: Sequence[RuleTarget]) -> tuple[RuleTarget, ...]:
    """Each once, with the type that its address has."""
    if not 1 <= len(targets) <= _MOST_TARGETS:
        raise Invalid(
            "ValidationException", f"a notification rule has 1 to {_MOST_TARGETS} targets, not {len(targets)}"
        )
    checked = []
    for target in targets:
        is_arn = target.address.startswith("arn:")
        if not (_ARN if is_arn else _SINK).fullmatch(target.address) or not target.address.isprintable():
            raise Invalid(
                "ValidationException",
                f"target {names.shown(target.address)} is not valid: give an ARN such as"
                " arn:aws:sns:eu-central-1:123456789012:deploys, or the name of a sink in the settings",
            )
        checked.append(
            RuleTarget(type=RuleTargetType.SNS if is_arn else RuleTargetType.SINK, address=target.address)
        )
    return tuple(dict.fromkeys(checked))


def _missing(key: str) -> NotFound:
    return NotFound(
        "ResourceNotFoundException",
        f"there is no notification rule {names.shown(key)}: `ferryman rule list` shows those that there are",
    )
