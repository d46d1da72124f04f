"""What a machine that enrols would be called, tagged and known as: its own wishes, as far as its token allows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import Facts, InstanceKind, JoinToken
from ferryman_coordinator.core.model import InstanceId
from ferryman_coordinator.core.provider_identity import ProviderProof, Vouched, is_provider_id
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Denied, Invalid
from ferryman_coordinator.operations import names

_ZONE_LENGTH = 100
_FACT_LENGTH = 256
_MOST_ADDRESSES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolOrder:
    """What an agent asks for. Without a name it gets the token's, else that of its host.

    `provider_instance_id` makes it a cloud instance (D17); `proof` is what its provider says of it.
    """

    join_token: str = ""
    instance_name: str = ""
    tags: Sequence[Tag] = ()
    zone: str = ""
    facts: Facts = field(default_factory=Facts)
    provider_instance_id: str = ""
    proof: ProviderProof | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """What it is to be. `provider_id` is empty on premises, `arn` where nobody but us gives one."""

    name: str
    kind: InstanceKind
    tags: tuple[Tag, ...]
    zone: str
    facts: Facts
    provider_id: InstanceId
    arn: str


def newcomer(order: EnrolOrder, token: JoinToken | None, vouched: Vouched | None, limits: Limits) -> Newcomer:
    """What `order` comes to with a token, or with its provider's word, or with both.

    Raises Invalid for a wrong name, id, tag or zone; Denied (JoinTokenNameMismatch, JoinTokenNameNotAllowed,
    JoinTokenTagNotAllowed, ProviderIdMismatch).
    """
    provider_id = _provider_id(order, vouched)
    zone = _check_zone((vouched.zone if vouched else "") or order.zone)
    facts = bounded(order.facts)
    if token is None and (order.tags or order.instance_name not in ("", provider_id)):
        raise Denied(
            "JoinTokenRequired",
            "without a join token an instance gets no tags and is called by its provider's id: leave --tag and"
            " --instance-name out, or enrol with a token",
        )
    return Newcomer(
        name=str(provider_id) if token is None else _name(order, token, provider_id, limits),
        kind=InstanceKind.CLOUD if provider_id else InstanceKind.ON_PREMISES,
        tags=() if token is None else _tags(order, token, limits),
        zone=zone,
        facts=facts,
        provider_id=provider_id,
        arn=vouched.arn if vouched else "",
    )


def bounded(facts: Facts) -> Facts:
    """They come from another machine and are only shown: no reason to store books."""
    texts = {
        name: getattr(facts, name)[:_FACT_LENGTH]
        for name in ("host_name", "os", "os_version", "kernel", "architecture", "agent_version", "boot_id")
    }
    addresses = tuple(address[:_FACT_LENGTH] for address in facts.addresses[:_MOST_ADDRESSES])
    return replace(facts, addresses=addresses, **texts)


def _provider_id(order: EnrolOrder, vouched: Vouched | None) -> InstanceId:
    given = order.provider_instance_id
    if vouched is not None:
        if given not in ("", vouched.instance_id):
            raise Denied(
                "ProviderIdMismatch",
                f"the identity document is that of {vouched.instance_id}, not of {names.shown(given)}",
            )
        return vouched.instance_id
    if given and not is_provider_id(given):
        raise Invalid(
            "InvalidInstanceIdException",
            f"{names.shown(given)} is no id of a cloud instance: one begins with i-, and has lower-case letters, digits"
            " and hyphens",
        )
    return InstanceId(given)


def _name(order: EnrolOrder, token: JoinToken, provider_id: InstanceId, limits: Limits) -> str:
    preset, asked = token.instance_name, order.instance_name
    if provider_id not in ("", preset) and not token.allows_name(provider_id):
        raise _not_allowed(provider_id, token)
    if preset and asked not in ("", preset):
        raise Denied(
            "JoinTokenNameMismatch",
            f"the join token is for an instance called {preset!r}, not "
            f"{names.shown(asked)}: leave the name out, or make another token",
        )
    name = asked or preset or provider_id or order.facts.host_name
    if provider_id and name == provider_id:
        return str(provider_id)
    names.INSTANCE.check(name, limits)
    if name != preset and not token.allows_name(name):
        raise _not_allowed(name, token)
    return name


def _tags(order: EnrolOrder, token: JoinToken, limits: Limits) -> tuple[Tag, ...]:
    chosen = names.check_tags(order.tags, limits)
    # Before each is compared with each pattern.
    names.check_tag_count(order.instance_name or token.instance_name, chosen, limits)
    for tag in chosen:
        if tag not in token.tags and not token.allows_tag(tag):
            allowed = ", ".join(f"{key}={value}" for key, value in token.allowed_tags) or "none of its own"
            raise Denied(
                "JoinTokenTagNotAllowed",
                f"the join token does not allow the tag {tag.key}={tag.value}: it allows {allowed}. Leave it out, and"
                " let an operator add it with `ferryman instance tag`",
            )
    return tuple(dict.fromkeys([*chosen, *token.tags]))


def _not_allowed(name: str, token: JoinToken) -> Denied:
    return Denied(
        "JoinTokenNameNotAllowed",
        f"the join token does not allow the name {names.shown(name)}, only {', '.join(token.allowed_names)}: give such"
        " a name with --instance-name, or use another token",
    )


def _check_zone(zone: str) -> str:
    if len(zone) > _ZONE_LENGTH or not zone.isprintable():
        raise Invalid(
            "InvalidInputException",
            f"zone {names.shown(zone)} is not valid: at most {_ZONE_LENGTH} characters that can be printed",
        )
    return zone
