"""Identifiers and secrets: everything that the coordinator draws at random comes from here."""

from __future__ import annotations

import random
import string
import uuid

from ferryman_coordinator.core.model import DeploymentId, InstanceId

_UPPER = string.ascii_uppercase + string.digits
_ALL = string.ascii_letters + string.digits
_SECRET_CHARACTERS = 43
"""62^43 is a little more than 2^256."""


class Ids:
    """Draws from the system's source of secure randomness; tests may give a seeded one."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._source = source or random.SystemRandom()

    def guid(self) -> str:
        """Identity of an application, a group, a configuration or a token (CP-004, CP-007)."""
        return str(uuid.UUID(int=self._source.getrandbits(128), version=4))

    def deployment_id(self) -> DeploymentId:
        """`d-` and nine of A-Z and 0-9 (CP-009)."""
        return DeploymentId("d-" + self._draw(_UPPER, 9))

    def instance_id(self) -> InstanceId:
        """Identity of an instance that enrolled with a join token. Never `i-…`: that is a provider's."""
        return InstanceId("mi-" + self._draw("0123456789abcdef", 17))

    def suffix(self) -> str:
        """Ten letters and digits that tell a registration from an earlier one under the same name (CP-075)."""
        return self._draw(_ALL, 10)

    def secret(self) -> str:
        """Letters and digits, 256 bits strong."""
        return self._draw(_ALL, _SECRET_CHARACTERS)

    def access_key_id(self, prefix: str) -> str:
        """`prefix` of four letters and sixteen more of A-Z and 0-9."""
        return prefix + self._draw(_UPPER, 16)

    def _draw(self, alphabet: str, count: int) -> str:
        return "".join(self._source.choices(alphabet, k=count))
