"""Small bundles that come by a call: kept when they are what was registered, fetched by HTTP whenever they are not."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ferryman_agent.bundles.asking import Ask, NotByCall
from ferryman_agent.bundles.call_hands import CallHands
from ferryman_agent.bundles.route import Route
from ferryman_agent.bundles.wanted import Attempt, Outcome
from tests.support.fetching import LIMITS
from tests.support.misbehaving_server import Server

CONTENT = os.urandom(50_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def wanted(server: Server, tmp_path: Path) -> Attempt:
    """What the server has, too."""
    server.data, server.etag = CONTENT, f'"{SHA256}"'
    return Attempt(
        url=server.url("/bundles/x"),
        label="the bundle",
        destination=str(tmp_path / "bundle"),
        route=Route(),
        limits=LIMITS,
        sha256=SHA256,
        size_bytes=len(CONTENT),
    )


class Answer:
    """An Ask that answers this, and remembers what for."""

    def __init__(self, content: bytes | None) -> None:
        self._content = content
        self.asked: list[str] = []

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if self._content is None:
            raise NotByCall("there is no stream")
        return self._content


async def fetched(ask: Ask, wanted: Attempt, rate: float | None = None) -> tuple[Outcome, list[int]]:
    heard: list[int] = []
    hands = CallHands(ask)
    hands.set_rate(rate)
    outcome = await hands.fetch(wanted, lambda received, total: heard.append(received))
    return outcome, heard


async def test_what_the_coordinator_sends_is_kept_without_http(server: Server, wanted: Attempt) -> None:
    answer = Answer(CONTENT)
    outcome, heard = await fetched(answer, wanted)
    kept = Path(wanted.destination)
    assert outcome == Outcome(size_bytes=len(CONTENT), sha256=SHA256, etag=f'"{SHA256}"')
    assert kept.read_bytes() == CONTENT
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert os.listdir(kept.parent) == ["bundle"]
    assert (answer.asked, server.seen, heard) == ([wanted.url], [], [len(CONTENT)])


async def test_both_ways_end_alike(wanted: Attempt) -> None:
    by_call, _ = await fetched(Answer(CONTENT), wanted)
    by_http, _ = await fetched(Answer(None), wanted)
    assert by_call == by_http


@pytest.mark.parametrize("content", [None, b"", CONTENT[:-1], CONTENT + b"!", bytes(len(CONTENT))])
async def test_what_is_not_had_or_not_right_is_fetched_by_http(
    server: Server, wanted: Attempt, content: bytes | None
) -> None:
    await fetched(Answer(content), wanted)
    assert len(server.seen) == 1
    assert Path(wanted.destination).read_bytes() == CONTENT
    assert os.listdir(Path(wanted.destination).parent) == ["bundle"]


@pytest.mark.parametrize(
    "change, rate",
    [
        (lambda wanted, folder: replace(wanted, sha256=None), None),
        (lambda wanted, folder: replace(wanted, route=Route(trace=str(folder / "trace"))), None),
        (lambda wanted, folder: wanted, 1e9),
    ],
    ids=["without a digest", "traced", "at a limited rate"],
)
async def test_what_only_http_can_do_is_left_to_it(
    server: Server,
    wanted: Attempt,
    tmp_path: Path,
    change: Callable[[Attempt, Path], Attempt],
    rate: float | None,
) -> None:
    answer = Answer(CONTENT)
    await fetched(answer, change(wanted, tmp_path), rate)
    assert answer.asked == []
    assert len(server.seen) == 1


async def test_no_more_is_kept_than_a_bundle_may_have(server: Server, wanted: Attempt) -> None:
    few = replace(wanted.limits, max_bundle_bytes=len(CONTENT) - 1)
    with pytest.raises(Exception, match=f"with {len(CONTENT) - 1} allowed"):
        await fetched(Answer(CONTENT), replace(wanted, limits=few, size_bytes=None))
    assert os.listdir(Path(wanted.destination).parent) == []
