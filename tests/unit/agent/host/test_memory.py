"""Memory that is given back when work is over."""

from __future__ import annotations

import asyncio

import pytest

from ferryman_agent.host import memory


async def test_what_ends_together_is_tidied_up_after_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given, again = [], asyncio.Event()

    def give_back() -> None:
        given.append(1)
        again.set()

    monkeypatch.setattr(memory, "SOON_SECONDS", 0.0)
    monkeypatch.setattr(memory, "give_back", give_back)
    relief = memory.Relief()
    for _ in range(3):
        relief.soon()
    assert given == []
    await again.wait()
    assert given == [1]
    again.clear()
    relief.soon()
    await again.wait()
    assert given == [1, 1]
