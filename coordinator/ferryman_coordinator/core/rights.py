"""Who may do what: statements that allow or deny, and what several of them come to (CP-433, CP-434, PF-230 to PF-236).

Nothing is allowed that no statement allows, and what one denies no other can allow. Most callers may do a thing
everywhere or nowhere, so `Rights` remembers that by action: asking costs a look-up.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.resources import EVERYTHING, NotAPattern, Pattern, Resource

CODEDEPLOY = "codedeploy:"
FERRYMAN = "ferryman:"

MINUTES_A_DAY = 24 * 60
_MINUTE_MS = 60_000
_REMEMBERED = 10_000
_LONGEST = 128


class Effect(StrEnum):
    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What conditions look at. `source` is an IP address, empty when it is not known."""

    source: str
    at: Instant
    is_tls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """All of those that are set must hold (PF-236)."""

    # Networks in CIDR notation.
    sources: tuple[str, ...] = ()
    not_before: Instant | None = None
    not_after: Instant | None = None
    # Minutes of the day in UTC, first and past the last; across midnight when the second is the smaller one.
    daily: tuple[int, int] | None = None
    tls: bool | None = None

    def __bool__(self) -> bool:
        return self != _NONE

    def hold(self, now: Circumstances) -> bool:
        if self.tls is not None and now.is_tls is not self.tls:
            return False
        if self.not_before is not None and now.at < self.not_before:
            return False
        if self.not_after is not None and now.at >= self.not_after:
            return False
        if self.daily is not None and not _is_within(self.daily, now.at // _MINUTE_MS % MINUTES_A_DAY):
            return False
        return not self.sources or _is_from(self.sources, now.source)


_NONE = Conditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`actions` and `resources` are patterns; `within` narrows the resources further: those of a grant.

    `origin` completes "because of …" for people.
    """

    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...] = (EVERYTHING,)
    conditions: Conditions = _NONE
    within: tuple[str, ...] = (EVERYTHING,)
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a credential is limited to, whatever its user may do."""

    actions: tuple[str, ...] = (EVERYTHING,)
    resources: tuple[str, ...] = (EVERYTHING,)

    @property
    def is_everything(self) -> bool:
        return EVERYTHING in self.actions and EVERYTHING in self.resources


UNLIMITED = Scope()


class Cause(StrEnum):
    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    DENIED = "denied"
    OUT_OF_SCOPE = "out of scope"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`origin`: of the statement that decided; empty where there was none."""

    cause: Cause
    origin: str = ""

    @property
    def is_allowed(self) -> bool:
        return self.cause is Cause.ALLOWED


_NOTHING = Verdict(Cause.NOT_ALLOWED)
_OUT_OF_SCOPE = Verdict(Cause.OUT_OF_SCOPE)
_ANYTHING = Pattern((EVERYTHING,))


class Rights:
    """What the statements of one caller come to. Immutable but for what it remembers."""

    def __init__(self, statements: Iterable[Statement], scope: Scope = UNLIMITED) -> None:
        self.statements = tuple(statements)
        self.scope = scope
        self._compiled = tuple(_Compiled(one) for one in self.statements)
        self._actions = Pattern(scope.actions)
        self._resources = Pattern(scope.resources)
        self._everywhere: dict[str, bool] = {}
        self._by_action: dict[str, tuple[_Compiled, ...]] = {}
        self._known: dict[tuple[str, tuple[str, ...]], Verdict] = {}

    def everywhere(self, action: str) -> bool:
        """Whether the action is allowed on all resources in all circumstances."""
        known = self._everywhere.get(action)
        if known is None:
            known = self._remember_everywhere(action)
        return known

    def decide(self, action: str, resource: Resource, now: Circumstances) -> Verdict:
        """May this be done to that, now?"""
        key = (action, resource.names)
        if (known := self._known.get(key)) is not None:
            return known
        concerned = self._of(action)
        verdict = self._decide(concerned, action, resource, now)
        if not any(one.has_conditions for one in concerned):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = verdict
        return verdict

    def somewhere(self, action: str, now: Circumstances, among: Resource | None = None) -> bool:
        """Whether there can be anything that the action is allowed on now, `among` all of a kind or with a beginning.

        For lists, and for what has no resource.
        """
        if not self._actions.fits(action):
            return False
        concerned = [one for one in self._of(action) if one.holds(now)]
        if any(not one.allows and one.has_all(among) for one in concerned):
            return False
        if among is None:
            return any(one.allows for one in concerned)
        is_in_scope = any(self._resources.meets(_ANYTHING, name) for name in among.names)
        return is_in_scope and any(one.allows and one.touches(among) for one in concerned)

    def _remember_everywhere(self, action: str) -> bool:
        concerned = self._of(action)
        known = (
            self._actions.fits(action)
            and self._resources.is_everything
            and any(one.allows and one.is_unlimited for one in concerned)
            and all(one.allows for one in concerned)
        )
        self._everywhere[action] = known
        return known

    def _decide(
        self, concerned: Iterable[_Compiled], action: str, resource: Resource, now: Circumstances
    ) -> Verdict:
        verdict, partly = _NOTHING, None
        for one in concerned:
            if not one.holds(now):
                continue
            if not one.covers(resource):
                if not one.allows and one.touches(resource):
                    partly = one
                continue
            if not one.allows:
                return Verdict(Cause.DENIED, one.origin)
            if not verdict.is_allowed:
                verdict = Verdict(Cause.ALLOWED, one.origin)
        if verdict.is_allowed and partly is not None:
            # Several at once are allowed only as a whole.
            return Verdict(Cause.DENIED, partly.origin)
        if verdict.is_allowed and not self._is_in_scope(action, resource):
            return _OUT_OF_SCOPE
        return verdict

    def _is_in_scope(self, action: str, resource: Resource) -> bool:
        return self._actions.fits(action) and any(self._resources.fits(name) for name in resource.names)

    def _of(self, action: str) -> tuple[_Compiled, ...]:
        known = self._by_action.get(action)
        if known is None:
            known = self._by_action[action] = tuple(one for one in self._compiled if one.actions.fits(action))
        return known


class _Compiled:
    __slots__ = ("_conditions", "_resources", "_within", "actions", "allows", "has_conditions", "origin")

    def __init__(self, statement: Statement) -> None:
        self.allows = statement.effect is Effect.ALLOW
        self.origin = statement.origin
        self.actions = Pattern(statement.actions)
        self.has_conditions = bool(statement.conditions)
        self._conditions = statement.conditions
        self._resources = Pattern(statement.resources)
        self._within = Pattern(statement.within)

    @property
    def is_unlimited(self) -> bool:
        return self.has_all(None) and not self.has_conditions

    def has_all(self, among: Resource | None) -> bool:
        if self._resources.is_everything and self._within.is_everything:
            return True
        return among is not None and self.covers(among)

    def covers(self, resource: Resource) -> bool:
        """Under any of its names: what is denied by its name is denied by its id as well."""
        return any(self._resources.fits(name) and self._within.fits(name) for name in resource.names)

    def touches(self, resource: Resource) -> bool:
        """Of all of a kind, or all with a beginning: whether some may be covered."""
        return any(
            EVERYTHING in name and self._resources.meets(self._within, name) for name in resource.names
        )

    def holds(self, now: Circumstances) -> bool:
        return not self.has_conditions or self._conditions.hold(now)


def check_action_pattern(text: str) -> str:
    """`text` itself: `codedeploy:GetDeployment`, `codedeploy:Get*` or `*` (PF-232); raises NotAPattern."""
    body = text.removesuffix(EVERYTHING)
    if text == EVERYTHING:
        return text
    prefix, _, name = body.partition(":")
    is_known = f"{prefix}:" in (CODEDEPLOY, FERRYMAN) and ":" in body
    if not is_known or len(text) > _LONGEST or (name and not (name.isascii() and name.isalnum())):
        raise NotAPattern(
            f"{text!r} is no action: write *, or codedeploy: or ferryman: and an operation, such as"
            " codedeploy:GetDeployment; * may stand at the end"
        )
    if not name and body == text:
        raise NotAPattern(f"{text!r} names no operation: write {text}* for all of them")
    return text


def check_conditions(conditions: Conditions) -> Conditions:
    """`conditions` themselves; raises NotAPattern for what could never hold, or cannot be read."""
    for source in conditions.sources:
        try:
            ipaddress.ip_network(source)
        except ValueError as error:
            raise NotAPattern(
                f"{source!r} is no network: write one such as 10.0.0.0/8 or 2001:db8::/32 ({error})"
            ) from error
    if conditions.daily is not None:
        first, last = conditions.daily
        if not (0 <= first < MINUTES_A_DAY and 0 <= last <= MINUTES_A_DAY) or first == last:
            raise NotAPattern("the hours of a day begin and end at different minutes from 00:00 to 24:00")
    begins, ends = conditions.not_before, conditions.not_after
    if begins is not None and ends is not None and begins >= ends:
        raise NotAPattern("the time from which it holds is not before the time until which it holds")
    return conditions


def _is_within(daily: tuple[int, int], minute: int) -> bool:
    first, last = daily
    return first <= minute < last if first < last else minute >= first or minute < last


def _is_from(sources: tuple[str, ...], source: str) -> bool:
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(one) for one in sources)
