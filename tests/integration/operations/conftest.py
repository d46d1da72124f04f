"""The operations on both databases; see tests/support/desk.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ferryman_coordinator.store.store import Store
from tests.support.databases import shared_postgres_url, store_url
from tests.support.desk import Desk

__all__ = ["shared_postgres_url", "store_url"]


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    store = await Store.open(store_url)
    yield Desk(store)
    await store.close()


@pytest.fixture
def store(desk: Desk) -> Store:
    """The one that the desk stands on."""
    return desk.store
