"""Servers that have too much to do: one gate for all downloads, and an end to it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from ferryman_agent.bundles.halt import Halt
from ferryman_agent.config import parse
from ferryman_agent.errors import INTERRUPTED
from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime.downloads import Downloads
from tests.support.fetching import Fetcher
from tests.support.misbehaving_server import Answer, Server, cut_after, status

SLOW_DOWN = b"<Error><Code>SlowDown</Code></Error>"
MIB = 1024 * 1024


def a_fetcher(tmp_path: Path, name: str) -> Fetcher:
    folder = tmp_path / name
    folder.mkdir()
    return Fetcher(folder)


@pytest.mark.req("V2-054")
@pytest.mark.parametrize("busy", [status(429), status(503, SLOW_DOWN), status(400, SLOW_DOWN)])
async def test_one_request_is_repeated_five_times(server: Server, tmp_path: Path, busy: Answer) -> None:
    fetcher = a_fetcher(tmp_path, "one")
    server.answers = [busy] * 9
    error = await fetcher.refused(server.url(), pauses=(0,) * 20)
    assert error.detail_code == "BUNDLE_THROTTLED"
    assert len(server.seen) == 6
    assert [pause for pause in fetcher.pauses if pause] == [1, 2, 4, 8, 16]


@pytest.mark.req("V2-054")
async def test_being_throttled_uses_up_no_other_retries(server: Server, tmp_path: Path) -> None:
    fetcher = a_fetcher(tmp_path, "one")
    server.data = b"here"
    server.answers = [status(429)] * 5
    await fetcher(server.url(), pauses=())
    assert fetcher.destination.read_bytes() == b"here"


@pytest.mark.req("V2-050")
async def test_what_one_download_heard_keeps_the_next_one_waiting(server: Server, tmp_path: Path) -> None:
    first, second = a_fetcher(tmp_path, "one"), a_fetcher(tmp_path, "two")
    second.transport, second.time = first.transport, first.time
    server.data = b"here"
    server.answers = [status(429)] * 6
    await first.refused(server.url())
    server.seen.clear()
    first.pauses.clear()
    await second(server.url())
    assert first.pauses == [30], "the sixth answer shut the gate for the longest time"
    assert len(server.seen) == 1
    first.pauses.clear()
    await second(server.url())
    assert first.pauses == []


@pytest.mark.req("V2-050")
async def test_all_downloads_of_an_agent_have_one_gate(tmp_path: Path) -> None:
    config = parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    made = Downloads(config, Layout(config.root), lambda: None, frozenset)
    transports = [made._transport() for _ in range(2)]
    assert transports[0].gate is transports[1].gate
    assert transports[0].rate is transports[1].rate
    assert transports[0].uses is transports[1].uses


@pytest.mark.req("V2-055")
async def test_an_agent_that_ends_tries_nothing_again_and_keeps_what_came(
    server: Server, tmp_path: Path
) -> None:
    fetcher = a_fetcher(tmp_path, "one")
    server.data, server.answers = b"x" * (3 * MIB), [cut_after(2 * MIB)]
    fetcher.transport.is_ending.set()
    with pytest.raises(Exception, match="the agent is ending") as error:
        await fetcher(server.url())
    assert getattr(error.value, "detail_code", "") == INTERRUPTED
    assert len(server.seen) == 1
    assert fetcher.pauses == []
    assert fetcher.destination.with_name("bundle.tar.part").stat().st_size == 2 * MIB


@pytest.mark.req("V2-055")
async def test_a_pause_ends_with_the_agent(server: Server, tmp_path: Path) -> None:
    fetcher = a_fetcher(tmp_path, "one")
    server.answers = [status(503)]

    async def sleep(seconds: float) -> None:
        fetcher.transport.is_ending.set()
        await asyncio.Event().wait()

    fetcher.transport.sleep = sleep
    with pytest.raises(Exception, match="the agent is ending"):
        await fetcher(server.url(), pauses=(20.0,))


async def test_a_bounded_download_takes_as_long_as_it_must(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher = a_fetcher(tmp_path, "one")
    server.data = bytes(3 * MIB)
    waited: list[float] = []
    monkeypatch.setattr(Halt, "wait", lambda self, seconds: waited.append(seconds))
    fetcher.transport.rate.change(0.5 * MIB)
    await fetcher(server.url())
    # Nothing waits in truth, so that each pause is of all that was taken too early.
    assert waited[-1] == pytest.approx(6, abs=0.6)
    assert max(later - sooner for sooner, later in pairwise(waited)) < 1
