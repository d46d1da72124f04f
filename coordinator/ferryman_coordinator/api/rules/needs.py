"""What a rule about a call is made of: which actions it needs, on what its request names, and what it may show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ferryman_coordinator.core import resources
from ferryman_coordinator.core.resources import Resource
from ferryman_coordinator.core.rights import CODEDEPLOY, FERRYMAN
from ferryman_coordinator.core.roles import is_read


@dataclass(frozen=True, slots=True)
class OfDeployment:
    """The deployment group of a deployment."""

    deployment_id: str


@dataclass(frozen=True, slots=True)
class OfInstance:
    """An instance by its id or name."""

    text: str


@dataclass(frozen=True, slots=True)
class ConfigOf:
    """The configuration that a deployment group has."""

    application_name: str
    group_name: str


@dataclass(frozen=True, slots=True)
class OwnerOf:
    """The user whose access token or access key that is."""

    credential_id: str


@dataclass(frozen=True, slots=True)
class SomeOf:
    """At least one of what `all_of` names, whichever that is: for a list that shows no more than that."""

    all_of: Resource


Target = Resource | SomeOf | OfDeployment | OfInstance | ConfigOf | OwnerOf | None
"""What an action is asked for on. None: it has no resource of its own, so the right to do it anywhere will do."""


@dataclass(frozen=True, slots=True)
class Need:
    """`any_of` lists actions of which one is enough."""

    any_of: tuple[str, ...]
    on: Target


@dataclass(frozen=True, slots=True)
class Shows:
    """Of a list: the field with its items, and what is needed to see one (PF-240). Without a need it is not shown."""

    field: str
    need: Callable[[Any, Any], Need | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """`needs` is asked only of callers who may not do all `actions` everywhere."""

    event: str
    actions: tuple[str, ...]
    needs: Callable[[Any], Iterable[Need]]
    shows: Shows | None = None
    is_read: bool = False
    # A message of a stream is no request that needs could be read from.
    is_recorded: bool = True


def _name(action: str) -> str:
    return action if ":" in action else CODEDEPLOY + action


def need(actions: str, on: Target) -> Need:
    """`actions` is one, or several with `|` between them."""
    return Need(tuple(_name(action) for action in actions.split("|")), on)


def rule(
    actions: str, *needs: Callable[[Any], Need | None], shows: Shows | None = None, event: str = ""
) -> Rule:
    """`actions`: all that the needs may name, the first one gives the event its name."""
    names = tuple(_name(action) for action in actions.split())

    def all_needs(request: Any) -> Iterator[Need]:
        for one in needs:
            wanted = one(request)
            if wanted is not None:
                yield wanted

    return Rule(
        event=event or names[0].partition(":")[2],
        actions=names,
        needs=all_needs,
        shows=shows,
        is_read=is_read(names[0]),
    )


def several(action: str, each: Callable[[Any], Iterable[Target]], event: str = "") -> Rule:
    """A call about many of a kind: it needs the right on each of them."""
    name = _name(action)
    return Rule(
        event=event or name.partition(":")[2],
        actions=(name,),
        needs=lambda request: [Need((name,), target) for target in each(request)],
        is_read=is_read(name),
    )


def on(action: str, target: Callable[[Any], Target]) -> Callable[[Any], Need | None]:
    return lambda request: need(action, target(request))


def listed(action: str, field: str, resource: Callable[[Any, Any], Resource]) -> Rule:
    """A list that shows what the action is allowed on."""
    return rule(
        action,
        on(action, lambda _request: None),
        shows=Shows(field, lambda item, request: need(action, resource(item, request))),
    )


def by_name(action: str, make: Callable[[str], Resource], field: str = "name", event: str = "") -> Rule:
    return rule(action, on(action, lambda request: make(getattr(request, field))), event=event)


def for_everybody(event: str, *, is_reading: bool) -> Rule:
    return Rule(event=event, actions=(), needs=lambda _request: (), is_read=is_reading)


def own_group(request: Any) -> Resource:
    return resources.group(request.application_name, request.name)


def group_of(options: Any) -> Resource:
    return resources.group(options.application_name, options.deployment_group_name)


def the_deployment(request: Any) -> OfDeployment:
    return OfDeployment(request.deployment_id)


def the_instance(request: Any) -> OfInstance:
    return OfInstance(request.instance)


def the_application(request: Any) -> Resource:
    return resources.application(request.application_name)


def of_deployment(action: str, event: str = "") -> Rule:
    return rule(action, on(action, the_deployment), event=event)


def shown_instance(item: Any, _request: Any) -> Resource:
    return resources.instance(item.name, item.instance_id)


def github_token(name: str) -> Resource:
    return Resource((resources.GITHUB + name,))


def used_github_token(location: Any) -> Need | None:
    """Whoever names a stored token uses it (PF-241)."""
    name = location.github.token_name
    return need(f"{FERRYMAN}UseGitHubToken", github_token(name)) if name else None
