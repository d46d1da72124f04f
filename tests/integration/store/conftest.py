"""Every test of this folder that asks for `store` runs on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ferryman_coordinator.store.store import Store
from tests.support.databases import fresh_url, shared_postgres_url, store_url

__all__ = ["fresh_url", "shared_postgres_url", "store_url"]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An open store without content."""
    store = await Store.open(store_url)
    yield store
    await store.close()
