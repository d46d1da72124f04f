"""How a machine becomes an instance, and how its agent proves who it is afterwards (CP-079)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import Facts, Instance, InstanceKind, IssuedCertificate, JoinToken
from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import (
    Conflict,
    ConstraintBroken,
    Denied,
    Invalid,
    LimitExceeded,
    NotMatched,
    Unauthenticated,
)
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.join_tokens import JoinTokens
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.inventory_records import instance_row
from ferryman_coordinator.store.queries import instances as queries
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.store import Store

Certify = Callable[[InstanceId], IssuedCertificate]
"""Makes the certificate of a new or renewed identity; may raise Refused when what it shall sign is not right."""

_ZONE_LENGTH = 100
_FACT_LENGTH = 256
_MOST_ADDRESSES = 64
_KEPT_EXPIRED_MS = 30 * 86_400_000
"""How long an expired certificate is remembered, so that its holder learns why it is refused."""
_RENEWALS_MS = 3_600_000
_MOST_RENEWALS = 30
"""Valid certificates that one instance gets in that time: each is a signature, and a row for a month and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolOrder:
    """What an agent asks for. Without a name it gets the token's, else that of its host."""

    join_token: str
    instance_name: str = ""
    tags: Sequence[Tag] = ()
    zone: str = ""
    facts: Facts = field(default_factory=Facts)


class Enrolment:
    """Gives identities to agents and recognises them."""

    def __init__(
        self, store: Store, clock: Clock, ids: Ids, limits: Limits, tokens: JoinTokens, account: Account
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._tokens = tokens
        self._account = account

    async def enrol(self, order: EnrolOrder, certify: Certify) -> Instance:
        """A new registered instance; token, instance and certificate are spent and stored together or not at all.

        `certify` is called once everything else is right. Raises what `JoinTokens.check` raises; Invalid for a wrong
        name, tag or zone; LimitExceeded for too many tags; Conflict (InstanceNameAlreadyRegisteredException); Denied
        (JoinTokenNameMismatch).
        """
        token = await self._tokens.check(order.join_token)
        instance = self._instance(order, token)
        await self._check_name_is_free(instance.name)
        certificate = certify(instance.instance_id)
        batch = Batch()
        self._tokens.spend(batch, token)
        batch.insert(tables.instances, instance_row(instance, token.token_id))
        batch.insert(tables.certificates, self._certificate_row(instance.instance_id, certificate))
        try:
            await self._store.write(batch)
        except NotMatched:
            # Somebody was faster: the reason is found where it always is.
            await self._tokens.check(order.join_token)
            raise
        except ConstraintBroken as broken:
            if broken.name == tables.REGISTERED_NAME:
                raise _name_taken(instance.name) from broken
            raise
        return replace(instance, certificate_expires_at=certificate.expires_at)

    async def renew(self, instance_id: InstanceId, certify: Certify) -> IssuedCertificate:
        """One more certificate for an instance that `identify` has recognised; the old ones last until they expire.

        Raises LimitExceeded (TooManyRenewals), and what `certify` raises.
        """
        now = self._clock.now()
        async with self._store.reading() as connection:
            newest = await queries.certificates_since(
                connection, instance_id, Instant(now - _RENEWALS_MS), now
            )
        if newest >= _MOST_RENEWALS:
            raise LimitExceeded(
                "TooManyRenewals",
                f"instance {instance_id} got {newest} certificates within an hour and uses none: look at its agent",
            )
        certificate = certify(instance_id)
        batch = Batch()
        batch.insert(tables.certificates, self._certificate_row(instance_id, certificate))
        long_ago = now - _KEPT_EXPIRED_MS
        is_old = tables.certificates.c.expires_at < long_ago
        batch.delete(tables.certificates, {"instance_id": instance_id}, where=[is_old])
        await self._store.write(batch)
        return certificate

    async def identify(self, serial: str) -> InstanceId:
        """Whose a verified certificate is. `serial` in lower-case hexadecimal.

        A deregistered instance is known until what was running on it then has ended (CP-095). Raises Unauthenticated:
        CertificateUnknown, CertificateExpired, CertificateRevoked, InstanceDeregistered.
        """
        async with self._store.reading() as connection:
            holder = await queries.holder(connection, serial)
            if holder is None:
                raise Unauthenticated(
                    "CertificateUnknown",
                    f"certificate {serial} was not issued by this coordinator: enrol the instance again",
                )
            if holder.expires_at <= self._clock.now():
                raise Unauthenticated(
                    "CertificateExpired",
                    f"the certificate of instance {holder.instance_id} has expired: enrol it again, "
                    "under another name or after `ferryman instance deregister`",
                )
            if holder.deregistered_at is not None:
                if await queries.is_busy(connection, holder.instance_id):
                    return holder.instance_id
                raise Unauthenticated(
                    "InstanceDeregistered",
                    f"instance {holder.instance_id} was deregistered: enrol it again to use it",
                )
        if holder.revoked_at is not None:
            raise Unauthenticated(
                "CertificateRevoked",
                f"the certificate of instance {holder.instance_id} was revoked: enrol it again",
            )
        return holder.instance_id

    async def describe(self, instance_id: InstanceId, facts: Facts) -> None:
        """Keep what an agent tells about its host when it connects."""
        batch = Batch()
        values = {"facts": to_json(_bounded(facts)), "last_seen_at": self._clock.now()}
        batch.update(tables.instances, {"instance_id": instance_id}, values)
        await self._store.write(batch)

    def _instance(self, order: EnrolOrder, token: JoinToken) -> Instance:
        tags = names.check_tags([*order.tags, *token.tags], self._limits)
        name = self._name(order, token)
        names.check_tag_count(name, tags, self._limits)
        return Instance(
            instance_id=self._ids.instance_id(),
            name=name,
            kind=InstanceKind.ON_PREMISES,
            arn=self._account.instance_arn(name, self._ids.suffix()),
            tags=tags,
            zone=_check_zone(order.zone),
            registered_at=self._clock.now(),
            facts=_bounded(order.facts),
        )

    def _name(self, order: EnrolOrder, token: JoinToken) -> str:
        if token.instance_name and order.instance_name not in ("", token.instance_name):
            raise Denied(
                "JoinTokenNameMismatch",
                f"the join token is for an instance called {token.instance_name!r}, not "
                f"{names.shown(order.instance_name)}: leave the name out, or make another token",
            )
        name = order.instance_name or token.instance_name or order.facts.host_name
        return names.INSTANCE.check(name, self._limits)

    async def _check_name_is_free(self, name: str) -> None:
        async with self._store.reading() as connection:
            holder = await queries.find(connection, name)
        if holder is not None and holder.is_registered and holder.name == name:
            raise _name_taken(name)

    def _certificate_row(self, instance_id: InstanceId, certificate: IssuedCertificate) -> dict[str, object]:
        return {
            "serial": certificate.serial,
            "instance_id": instance_id,
            "issued_at": self._clock.now(),
            "expires_at": certificate.expires_at,
        }


def _name_taken(name: str) -> Conflict:
    return Conflict(
        "InstanceNameAlreadyRegisteredException",
        f"an instance called {name!r} is registered already: choose another name with --instance-name, "
        f"or free this one with `ferryman instance deregister {name}`",
    )


def _check_zone(zone: str) -> str:
    if len(zone) > _ZONE_LENGTH or not zone.isprintable():
        raise Invalid(
            "InvalidInputException",
            f"zone {names.shown(zone)} is not valid: at most {_ZONE_LENGTH} characters that can be printed",
        )
    return zone


def _bounded(facts: Facts) -> Facts:
    """They come from another machine and are only shown: no reason to store books."""
    texts = {
        name: getattr(facts, name)[:_FACT_LENGTH]
        for name in ("host_name", "os", "os_version", "kernel", "architecture", "agent_version", "boot_id")
    }
    addresses = tuple(address[:_FACT_LENGTH] for address in facts.addresses[:_MOST_ADDRESSES])
    return replace(facts, addresses=addresses, **texts)
