"""A coordinator of its own for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.coordinator import RunningCoordinator, running_coordinator


@pytest.fixture
async def coordinator(tmp_path: Path) -> AsyncIterator[RunningCoordinator]:
    async with running_coordinator(tmp_path / "data") as running:
        yield running
