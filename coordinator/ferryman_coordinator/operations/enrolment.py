"""How a machine becomes an instance, and how its agent proves who it is afterwards (CP-079).

A machine brings a join token, or a document of its provider, or both. It becomes a new instance, or takes the place of
one that was registered by name and waits for it. Who takes a name that is registered already must hold a token that was
made for that name: a token for whoever comes is no key to what belongs to somebody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import Facts, Instance, InstanceKind, IssuedCertificate, JoinToken
from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.core.provider_identity import ProviderProof, Vouch, Vouched
from ferryman_coordinator.errors import (
    Conflict,
    ConstraintBroken,
    LimitExceeded,
    NotMatched,
    Refused,
    StoreUnavailable,
    Unauthenticated,
)
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.join_tokens import JoinTokens
from ferryman_coordinator.operations.newcomers import EnrolOrder, Newcomer, bounded, newcomer
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch, Condition
from ferryman_coordinator.store.inventory_records import instance_row
from ferryman_coordinator.store.queries import instances as queries
from ferryman_coordinator.store.queries.instances import CertificateHolder
from ferryman_coordinator.store.records import to_json
from ferryman_coordinator.store.store import Store

SESSION_MS = 3_600_000
"""Longest life of a certificate of an instance that was registered with a session (CP-076)."""

_DEREGISTERED = "InstanceDeregistered"

_KEPT_EXPIRED_MS = 30 * 86_400_000
"""How long an expired certificate is remembered, so that its holder learns why it is refused."""
_RENEWALS_MS = 3_600_000
_MOST_RENEWALS = 30
"""Valid certificates that one instance gets in that time: each is a signature, and a row for a month and more."""


class Certify(Protocol):
    """Makes the certificate of a new or renewed identity."""

    def __call__(self, instance_id: InstanceId, longest_ms: int | None = None, /) -> IssuedCertificate:
        """It lasts `longest_ms` at most. May raise Refused when what it shall sign is not right."""
        ...


class Enrolment:
    """Gives identities to agents and recognises them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        tokens: JoinTokens,
        account: Account,
        providers: Mapping[str, Vouch] | None = None,
        turned_away: Callable[[InstanceId, Refused], None] = lambda _instance_id, _refused: None,
    ) -> None:
        """`providers` are those that are believed, by their names; `turned_away` hears of agents that are not."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._tokens = tokens
        self._account = account
        self._providers = providers or {}
        self._turned_away = turned_away

    async def enrol(self, order: EnrolOrder, certify: Certify) -> Instance:
        """A registered instance with an identity; token, instance and certificate are spent and stored together.

        `certify` is called once everything else is right. Raises what `JoinTokens.check` and `newcomer` raise;
        LimitExceeded for too many tags; Conflict (InstanceNameAlreadyRegisteredException); Unauthenticated and Denied
        for what a provider is said to say.
        """
        vouched = self._vouched(order.proof)
        # A provider's word stands in for a token; without it, no token is a wrong one.
        token = await self._tokens.check(order.join_token) if order.join_token or vouched is None else None
        wanted = newcomer(order, token, vouched, self._limits)
        async with self._store.reading() as connection:
            present = await queries.find(connection, wanted.name)
            if wanted.provider_id and wanted.name != wanted.provider_id:
                present = await queries.find(connection, wanted.provider_id) or present
        holder = _holder(present, wanted)
        if holder is not None:
            _demand_place(holder, wanted, token)
        instance = self._instance(wanted, holder)
        names.check_tag_count(instance.name, instance.tags, self._limits)
        certificate = _certified(certify, instance)
        batch = Batch()
        if token is not None:
            self._tokens.spend(batch, token)
        row = instance_row(instance, None if token is None else token.token_id)
        if holder is None:
            batch.insert(tables.instances, row)
        else:
            batch.update(
                tables.instances, {"instance_id": holder.instance_id}, row, expect=1, where=_unchanged(holder)
            )
            is_valid = tables.certificates.c.revoked_at.is_(None)
            batch.update(
                tables.certificates,
                {"instance_id": holder.instance_id},
                {"revoked_at": instance.enrolled_at},
                where=[is_valid],
            )
        batch.insert(tables.certificates, self._certificate_row(instance.instance_id, certificate))
        await self._store_newcomer(batch, order, instance)
        return replace(instance, certificate_expires_at=certificate.expires_at)

    async def _store_newcomer(self, batch: Batch, order: EnrolOrder, instance: Instance) -> None:
        try:
            await self._store.write(batch)
        except NotMatched as late:
            # Somebody was faster: the reason is found where it always is.
            if order.join_token:
                await self._tokens.check(order.join_token)
            raise Conflict(
                "InstanceChangedMeanwhile",
                f"somebody changed or enrolled {instance.name!r} at this very moment: enrol again",
            ) from late
        except ConstraintBroken as broken:
            if broken.name == tables.REGISTERED_NAME or instance.kind is InstanceKind.CLOUD:
                raise _name_taken(instance.name) from broken
            raise

    async def renew(self, instance_id: InstanceId, certify: Certify) -> IssuedCertificate:
        """One more certificate for an instance that `identify` has recognised; the old ones last until they expire.

        Raises LimitExceeded (TooManyRenewals), and what `certify` raises.
        """
        now = self._clock.now()
        async with self._store.reading() as connection:
            newest = await queries.certificates_since(
                connection, instance_id, Instant(now - _RENEWALS_MS), now
            )
            instance = await queries.get(connection, instance_id)
        if newest >= _MOST_RENEWALS:
            raise LimitExceeded(
                "TooManyRenewals",
                f"instance {instance_id} got {newest} certificates within an hour and uses none: look at its agent",
            )
        certificate = certify(instance_id) if instance is None else _certified(certify, instance)
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
                    f"certificate {serial} was not issued by this coordinator, or after the backup that it was restored"
                    " from: enrol the instance again, with a token from"
                    " `ferryman token create --join --instance-name NAME --replace-identity`",
                )
            refused = _refusal(holder, self._clock.now())
            is_leaving = refused is not None and refused.reason == _DEREGISTERED
            if is_leaving and await queries.is_busy(connection, holder.instance_id):
                return holder.instance_id
        if refused is not None:
            self._turned_away(holder.instance_id, refused)
            raise refused
        if holder.first_used_at is None:
            await self._note_use(serial)
        return holder.instance_id

    async def _note_use(self, serial: str) -> None:
        """From now on it is known that the agent has it, which is what a rotation of the CA waits for."""
        batch = Batch()
        batch.update(tables.certificates, {"serial": serial}, {"first_used_at": self._clock.now()})
        try:
            await self._store.write(batch)
        except StoreUnavailable:
            # It comes again with the next connection; an agent is not turned away for it.
            return

    async def describe(self, instance_id: InstanceId, facts: Facts) -> None:
        """Keep what an agent tells about its host when it connects."""
        batch = Batch()
        values = {"facts": to_json(bounded(facts)), "last_seen_at": self._clock.now()}
        batch.update(tables.instances, {"instance_id": instance_id}, values)
        await self._store.write(batch)

    def _vouched(self, proof: ProviderProof | None) -> Vouched | None:
        if proof is None:
            return None
        vouch = self._providers.get(proof.provider)
        if vouch is None:
            raise Unauthenticated(
                "ProviderNotTrusted",
                f"identity documents of {names.shown(proof.provider)} are not believed here: configure that provider"
                " (section `aws_identity`), or enrol with a join token and without a document",
            )
        return vouch(proof, self._clock.now())

    def _instance(self, wanted: Newcomer, holder: Instance | None) -> Instance:
        """Who it is from now on: of a registration that waited, its ARN, tags and name stay."""
        now = self._clock.now()
        if holder is not None and holder.is_registered:
            return replace(
                holder,
                tags=tuple(dict.fromkeys([*holder.tags, *wanted.tags])),
                zone=wanted.zone or holder.zone,
                facts=wanted.facts,
                enrolled_at=now,
            )
        instance_id = wanted.provider_id or self._ids.instance_id()
        if wanted.provider_id:
            arn = wanted.arn or self._account.cloud_arn(instance_id)
        else:
            arn = self._account.instance_arn(wanted.name, self._ids.suffix())
        return Instance(
            instance_id=instance_id,
            name=wanted.name,
            kind=wanted.kind,
            arn=arn,
            tags=wanted.tags,
            zone=wanted.zone,
            registered_at=now,
            enrolled_at=now,
            facts=wanted.facts,
        )

    def _certificate_row(self, instance_id: InstanceId, certificate: IssuedCertificate) -> dict[str, object]:
        return {
            "serial": certificate.serial,
            "instance_id": instance_id,
            "issued_at": self._clock.now(),
            "expires_at": certificate.expires_at,
            "issuer": certificate.issuer,
        }


def _refusal(holder: CertificateHolder, now: Instant) -> Unauthenticated | None:
    if holder.expires_at <= now:
        return Unauthenticated(
            "CertificateExpired",
            f"the certificate of instance {holder.instance_id} has expired: enrol it again, "
            "with a token from `ferryman token create --join --instance-name NAME --replace-identity`",
        )
    if holder.deregistered_at is not None:
        return Unauthenticated(
            _DEREGISTERED,
            f"instance {holder.instance_id} was deregistered: enrol it again to use it",
        )
    if holder.revoked_at is not None:
        return Unauthenticated(
            "CertificateRevoked",
            f"the certificate of instance {holder.instance_id} was revoked: enrol it again",
        )
    return None


def _holder(present: Instance | None, wanted: Newcomer) -> Instance | None:
    """The row that the newcomer would be stored in the place of: whoever has its name, or had its provider's id."""
    if present is None:
        return None
    if wanted.provider_id and present.instance_id == wanted.provider_id:
        return present
    return present if present.is_registered and present.name == wanted.name else None


def _demand_place(holder: Instance, wanted: Newcomer, token: JoinToken | None) -> None:
    """Raises Conflict unless `token` was made for this very instance, and it waits or may be replaced."""
    was_meant = token is not None and token.instance_name in (holder.name, holder.instance_id)
    if holder.kind is not wanted.kind:
        raise Conflict(
            "InstanceNameAlreadyRegisteredException",
            f"{holder.name!r} is registered as {holder.kind.value}, so no {wanted.kind.value} instance can take its"
            f" place: choose another name, or free this one with `ferryman instance deregister {holder.name}`",
        )
    if not holder.is_registered:
        if not was_meant:
            raise Conflict(
                "InstanceIdKnown",
                f"{holder.instance_id} was registered before, and an id enrols once: to let it in again make a token"
                f" for it with `ferryman token create --join --instance-name {holder.instance_id}`",
            )
    elif holder.enrolled_at is None:
        # Its autoscaling group has announced it, so its machine is expected, with any token that allows its id.
        is_expected = bool(holder.auto_scaling_group) and holder.instance_id == wanted.provider_id
        if not was_meant and not is_expected:
            raise Conflict(
                "InstanceNameAlreadyRegisteredException",
                f"{holder.name!r} is registered and waits for its own machine: enrol with a token that was made for it"
                f" (`ferryman token create --join --instance-name {holder.name}`)",
            )
    elif not (was_meant and token is not None and token.replaces_identity):
        raise _name_taken(holder.name)


def _unchanged(holder: Instance) -> list[Condition]:
    """Nobody took its place, and nobody tagged or freed it, since it was read."""
    column = tables.instances.c
    return [
        column.tags == to_json(holder.tags),
        column.lifecycle_state == holder.lifecycle_state.value,
        column.auto_scaling_group == holder.auto_scaling_group,
        column.enrolled_at.is_(None)
        if holder.enrolled_at is None
        else column.enrolled_at == holder.enrolled_at,
        column.deregistered_at.is_(None)
        if holder.deregistered_at is None
        else column.deregistered_at == holder.deregistered_at,
    ]


def _certified(certify: Certify, instance: Instance) -> IssuedCertificate:
    if instance.iam_session_arn:
        return certify(instance.instance_id, SESSION_MS)
    return certify(instance.instance_id)


def _name_taken(name: str) -> Conflict:
    return Conflict(
        "InstanceNameAlreadyRegisteredException",
        f"an instance called {name!r} is registered already: choose another name with --instance-name, "
        f"or free this one with `ferryman instance deregister {name}`. A machine that lost its identity gets it back"
        f" with a token from `ferryman token create --join --instance-name {name} --replace-identity`",
    )
