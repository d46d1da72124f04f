"""An identity for the agent's tests; nothing in it is a real key."""

from __future__ import annotations

from ferryman_agent.core.messages import Instant
from ferryman_agent.host.identity import Identity
from tests.support.agent_clock import START

LIFETIME_MS = 7 * 24 * 3_600_000


def an_identity(**changes: object) -> Identity:
    values: dict[str, object] = {
        "instance_id": "i-1",
        "instance_name": "web-1",
        "host": "coordinator.example",
        "agents_port": 7422,
        "private_key": "KEY",
        "certificate_chain": "CHAIN",
        "ca_certificates": "CA",
        "issued_at": START,
        "expires_at": Instant(START + LIFETIME_MS),
    }
    return Identity(**values | changes)  # type: ignore[arg-type] # a test's shorthand
