"""Real processes, in folders of their own."""

from __future__ import annotations

import pwd
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.hook_runs import HookBench, open_folder
from tests.support.users import temporary_user


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[HookBench]:
    """Scripts that run as whoever runs the tests."""
    bench = HookBench(root=tmp_path)
    yield bench
    bench.close()


@pytest.fixture
async def open_bench() -> AsyncIterator[HookBench]:
    """Scripts that other users can reach."""
    with open_folder() as folder:
        yield HookBench(root=folder)


@pytest.fixture(scope="session")
def other_user() -> Iterator[pwd.struct_passwd]:
    """A user that scripts can run as; needs root."""
    with temporary_user() as user:
        yield user
