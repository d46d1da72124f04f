"""What a provider says of a machine that it runs: taken in as it came, and what is left of it once it is believed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from ferryman_coordinator.core.model import InstanceId, Instant

PROVIDER_ID_PREFIX = "i-"
"""No name of an on-premises instance begins so, and no id that we draw."""

_PROVIDER_ID = re.compile(r"i-[0-9a-z](?:[0-9a-z-]{0,60}[0-9a-z])?")


def is_provider_id(text: str) -> bool:
    """Whether it can be the id of a cloud instance."""
    return _PROVIDER_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProof:
    """A provider's identity document and its signature, as an agent sent them."""

    provider: str
    document: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """A machine that its provider vouches for."""

    instance_id: InstanceId
    arn: str
    zone: str


class Vouch(Protocol):
    """One provider's way to prove an identity. Each provider has a module under `identity/providers`."""

    def __call__(self, proof: ProviderProof, now: Instant, /) -> Vouched:
        """Raises Unauthenticated when the proof does not hold, Denied when it does and is not wanted here."""
        ...
