"""Fleets of real processes, started once for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A coordinator and ten agents."""
    yield from _running(Fleet(_short_home(tmp_path_factory), agents=10))


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A coordinator and two agents, for a test that hurts them."""
    yield from _running(Fleet(_short_home(tmp_path_factory), agents=2))


def _running(fleet: Fleet) -> Iterator[Fleet]:
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def _short_home(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("f")
