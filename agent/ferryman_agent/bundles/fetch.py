"""Downloads a bundle by HTTP: attempt after attempt, as long as trying again can help (AG-222, AG-232, AG-233)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import structlog

from ferryman_agent.bundles.address import check_transport
from ferryman_agent.bundles.hands import Hands
from ferryman_agent.bundles.limits import MIB
from ferryman_agent.bundles.transport import Transport
from ferryman_agent.bundles.wanted import Attempt, Outcome, Progress, part_of
from ferryman_agent.core.throttle import MOST_RETRIES
from ferryman_agent.errors import INTERRUPTED, BundleError
from ferryman_agent.threads import in_thread

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete, verified file under its final name."""

    size_bytes: int
    sha256: str
    etag: str


async def fetch(
    wanted: Attempt,
    *,
    hands: Hands,
    transport: Transport,
    retry_pauses: tuple[float, ...],
    on_progress: Progress,
) -> Fetched:
    """Downloads a bundle to `wanted.destination`, verified by all that is known of it.

    Raises BundleError when the bundle cannot be had; nothing is left then. When it is cancelled, or the agent ends,
    what was received stays for the next call, which resumes if it can verify the result.
    """
    check_transport(wanted.url, wanted.sha256)
    tries = _Tries(wanted, hands, transport, retry_pauses, on_progress)
    budget = wanted.limits.budget_seconds
    try:
        async with asyncio.timeout(budget):
            outcome = await tries.until_complete()
    except TimeoutError as problem:
        await _discard(wanted)
        raise tries.gave_up(f"the limit of {budget:g} s is over", "BUNDLE_TIMEOUT") from problem
    except BundleError as problem:
        if problem.detail_code != INTERRUPTED:
            await _discard(wanted)
        raise
    return Fetched(outcome.size_bytes, outcome.sha256, outcome.etag)


async def _discard(wanted: Attempt) -> None:
    part = part_of(Path(wanted.destination))
    await in_thread(lambda: part.unlink(missing_ok=True))


@dataclass(slots=True)
class _Tries:
    wanted: Attempt
    hands: Hands
    transport: Transport
    retry_pauses: tuple[float, ...]
    on_progress: Progress
    seen: list[str] = field(default_factory=list)
    throttled: int = 0
    failures: int = 0
    size: int = 0
    started: float = 0

    async def until_complete(self) -> Outcome:
        self.started = self.transport.monotonic()
        while True:
            await self.transport.pass_gate()
            outcome = await self.hands.fetch(self.wanted, self.on_progress)
            now = self.transport.monotonic()
            if not outcome.again:
                self.transport.gate.succeeded(now)
                return outcome
            self.seen.append(outcome.again)
            if outcome.is_throttled:
                self.transport.gate.throttled(now)
            pause = self._pause_after(outcome)
            label = self.wanted.label
            log.info("bundle.retry", bundle=label, reason=outcome.again, pause_seconds=pause)
            if not await self.transport.pause(pause):
                raise self.gave_up("the agent is ending", INTERRUPTED)
            self.wanted = replace(self.wanted, etag=outcome.etag)

    def _pause_after(self, outcome: Outcome) -> float:
        """Returns the seconds until the next attempt. Raises BundleError when there shall be none."""
        if outcome.is_throttled:
            self.throttled += 1
            if self.throttled > MOST_RETRIES:
                raise self.gave_up(f"the server was too busy {self.throttled} times", "BUNDLE_THROTTLED")
            pause = outcome.after
        else:
            # A connection that breaks again and again, yet brings something each time, will get there.
            self.failures = 1 if outcome.size_bytes >= self.size + MIB else self.failures + 1
            if self.failures > len(self.retry_pauses):
                raise self.gave_up(f"{self.failures} attempts failed", "BUNDLE_UNREACHABLE")
            pause = max(self.retry_pauses[self.failures - 1], outcome.after)
        self.size = outcome.size_bytes
        left = self.wanted.limits.budget_seconds - (self.transport.monotonic() - self.started)
        if pause > left:
            raise self.gave_up(
                f"the server asks to wait {pause:g} s, longer than the download may take", "BUNDLE_TIMEOUT"
            )
        return pause

    def gave_up(self, why: str, code: str) -> BundleError:
        runs = [(what, len(list(run))) for what, run in groupby(self.seen)]
        said = [what if times == 1 else f"{what} ({times} times)" for what, times in runs[-8:]]
        seen = "; ".join(said) or "no answer"
        return BundleError(code, f"cannot fetch {self.wanted.label}: {why} ({seen})", is_retryable=True)
