"""What tests of a whole agent start with: a coordinator that can be told what to say, and an agent enrolled at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.agent_home import AgentHome
from tests.support.fake_coordinator import FakeCoordinator


@pytest.fixture
async def coordinator() -> AsyncIterator[FakeCoordinator]:
    """Listens on loopback, with TLS."""
    async with FakeCoordinator() as running:
        yield running


@pytest.fixture
async def agent(coordinator: FakeCoordinator, tmp_path: Path) -> AsyncIterator[AgentHome]:
    """Enrolled and not started."""
    home = AgentHome(tmp_path / "agent")
    code, printed = await home.enroll(coordinator)
    assert code == 0, printed
    try:
        yield home
    finally:
        await home.close()
