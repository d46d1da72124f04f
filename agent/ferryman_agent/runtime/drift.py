"""When installed files are looked at, and what of it the coordinator is told (AG-549, AG-552, AG-553).

By `stat` at the start, after each deployment and now and then; with their contents more rarely; and whenever somebody
asks. A deployment never waits for a check: its group's check is abandoned, and made when the deployment is over.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from ferryman_agent.clock import Clock
from ferryman_agent.core.drift import InstalledGroup
from ferryman_agent.core.messages import GroupId, Instant
from ferryman_agent.files.check import Abandoned, Checked, Knowledge
from ferryman_agent.host import memory
from ferryman_agent.quiet import in_quiet_thread

ASKED_LIMIT = 64
"""Requests that may wait for their turn. More than that cannot be of use to anybody."""

BUSY = "a deployment is under way here: it is checked when that has ended"

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """Seconds between checks, 0 for none of the agent's own. `bytes_per_second` bounds what those read, 0 for any."""

    stat_every: float = 900.0
    digests_every: float = 86_400.0
    bytes_per_second: int = 0


class Check(Protocol):
    """Does one check; blocks. Raises Abandoned once `stop` is set."""

    def __call__(
        self,
        group_id: GroupId,
        *,
        knowledge: Knowledge,
        with_digests: bool,
        now: Instant,
        pace: Callable[[int], None],
        stop: threading.Event,
    ) -> Checked | None: ...


Send = Callable[[str, Sequence[InstalledGroup]], None]
"""Tells the coordinator: the id of the check that was asked for, or "", and what was found."""


@dataclass(frozen=True, slots=True)
class _Asked:
    check_id: str
    group_ids: tuple[GroupId, ...]
    with_digests: bool


class Drift:
    """`groups` are those that have something installed, `busy` those that a command runs or waits for.

    `distrust` is told which installed files have another content than their marks say; `relieve` is called when a check
    is over, which took memory.
    """

    def __init__(
        self,
        *,
        check: Check,
        groups: Callable[[], Sequence[GroupId]],
        busy: Callable[[], frozenset[GroupId]],
        send: Send,
        distrust: Callable[[GroupId, frozenset[str]], None],
        settings: DriftSettings,
        clock: Clock,
        random: Callable[[], float],
        relieve: Callable[[], None] = memory.give_back,
    ) -> None:
        self._check = check
        self._relieve = relieve
        self._groups = groups
        self._busy_now = busy
        self._send = send
        self._distrust = distrust
        self._settings = settings
        self._clock = clock
        self._random = random
        self._busy: frozenset[GroupId] = frozenset()
        self._knowledge: dict[GroupId, Knowledge] = {}
        self._found: dict[GroupId, InstalledGroup] = {}
        self._told: dict[GroupId, InstalledGroup] = {}
        # Groups to look at soon, with their contents or without.
        self._due: dict[GroupId, bool] = {}
        self._asked: list[_Asked] = []
        self._running: dict[GroupId, set[threading.Event]] = {}
        self._work = asyncio.Event()
        self._questions = asyncio.Event()

    async def run(self) -> None:
        """Checks until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_looking(), name="drift")
            tasks.create_task(self._answer(), name="drift answers")
            for seconds, with_digests in (
                (self._settings.stat_every, False),
                (self._settings.digests_every, True),
            ):
                if seconds > 0:
                    tasks.create_task(self._remind(seconds, with_digests=with_digests), name="drift timer")

    # What others say

    def stream_began(self) -> None:
        """A coordinator listens that knows nothing of what was told before."""
        self._told.clear()
        self._tell(self._found)

    def commands_changed(self) -> None:
        """Commands began or ended: checks of their groups are given up, or due."""
        busy = self._busy_now()
        if busy == self._busy:
            return
        began, ended = busy - self._busy, self._busy - busy
        self._busy = busy
        for group_id in began:
            for stop in self._running.get(group_id, ()):
                stop.set()
        if ended:
            self._want(ended if self._settings.stat_every > 0 else (), with_digests=False)

    def ask(self, check_id: str, group_ids: Iterable[GroupId], *, with_digests: bool) -> None:
        """Looks at these groups, or at all, as soon as can be, and sends an answer whatever comes of it."""
        if len(self._asked) >= ASKED_LIMIT:
            log.warning("drift.not_checked", check_id=check_id, reason="too many checks wait already")
            return
        self._asked.append(_Asked(check_id, tuple(group_ids), with_digests))
        self._questions.set()

    # Tasks

    async def _remind(self, seconds: float, *, with_digests: bool) -> None:
        """The first look by `stat` is at once; all others at times that differ from agent to agent."""
        if with_digests:
            await self._clock.sleep(seconds * self._random())
        while True:
            self._want(await asyncio.to_thread(self._groups), with_digests=with_digests)
            await self._clock.sleep(seconds * (0.9 + 0.2 * self._random()))

    def _want(self, group_ids: Iterable[GroupId], *, with_digests: bool) -> None:
        for group_id in group_ids:
            self._due[group_id] = with_digests or self._due.get(group_id, False)
        self._work.set()

    async def _keep_looking(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while free := [one for one in self._due if one not in self._busy_now()]:
                group_id = free[0]
                with_digests = self._due.pop(group_id)
                try:
                    found = await self._look(group_id, with_digests=with_digests, is_paced=True)
                except Abandoned:
                    if group_id in self._busy_now():
                        # Once the commands are over; `commands_changed` says when.
                        self._want([group_id], with_digests=with_digests)
                    continue
                if found is not None:
                    self._tell({group_id: found})

    async def _answer(self) -> None:
        while True:
            await self._questions.wait()
            self._questions.clear()
            while self._asked:
                asked = self._asked.pop(0)
                known = await asyncio.to_thread(self._groups)
                wanted = [one for one in asked.group_ids if one in known] if asked.group_ids else known
                states = []
                for group_id in wanted:
                    state = await self._state(group_id, with_digests=asked.with_digests)
                    if state is not None:
                        states.append(state)
                self._told.update((state.group_id, state) for state in states if state.deployment_id)
                self._send(asked.check_id, states)

    async def _state(self, group_id: GroupId, *, with_digests: bool) -> InstalledGroup | None:
        if group_id not in self._busy_now():
            try:
                return await self._look(group_id, with_digests=with_digests, is_paced=False)
            except Abandoned:
                log.info("drift.abandoned", group=group_id)
        # Without a deployment, so that nobody keeps it.
        return InstalledGroup(group_id=group_id, deployment_id="", checked_at=self._clock.now(), error=BUSY)

    # Work

    async def _look(self, group_id: GroupId, *, with_digests: bool, is_paced: bool) -> InstalledGroup | None:
        """Raises Abandoned."""
        stop = threading.Event()
        self._running.setdefault(group_id, set()).add(stop)
        pace = _Pace(self._settings.bytes_per_second if is_paced else 0, self._clock, stop)
        knowledge = self._knowledge.get(group_id) or Knowledge()
        now = self._clock.now()
        try:
            checked = await in_quiet_thread(
                lambda: self._check(
                    group_id, knowledge=knowledge, with_digests=with_digests, now=now, pace=pace, stop=stop
                ),
                stop=stop,
            )
        except Abandoned:
            raise
        except Exception as error:
            # A mistake of ours must cost this check and no more (V2-035).
            log.exception("drift.broke", group=group_id)
            return _broken(self._found.get(group_id), group_id, now, error)
        finally:
            # The records of what is installed are large, and needed again only in a while.
            self._relieve()
            self._running[group_id].discard(stop)
            if not self._running[group_id]:
                del self._running[group_id]
        if stop.is_set() or group_id in self._busy_now():
            # It was over before it could be given up, but what it saw may be half an install.
            raise Abandoned
        if checked is None:
            self._found.pop(group_id, None)
            self._knowledge.pop(group_id, None)
            return None
        return self._take(group_id, checked)

    def _take(self, group_id: GroupId, checked: Checked) -> InstalledGroup:
        state, before = checked.state, self._found.get(group_id)
        if checked.lying:
            self._distrust(group_id, checked.lying)
        if state.is_news_after(before) and (state.files_drifted or state.error or not state.archive_whole):
            log.warning(
                "drift.found",
                group=group_id,
                deployment_id=state.deployment_id,
                files_drifted=state.files_drifted,
                first=[one.path for one in state.drifted[:3]],
                archive_whole=state.archive_whole,
                bundle_whole=state.bundle_whole,
                error=state.error,
            )
        self._knowledge[group_id] = checked.knowledge
        self._found[group_id] = state
        return state

    def _tell(self, found: dict[GroupId, InstalledGroup]) -> None:
        news = [state for group_id, state in found.items() if state.is_news_after(self._told.get(group_id))]
        if news:
            self._told.update((state.group_id, state) for state in news)
            self._send("", news)


def _broken(last: InstalledGroup | None, group_id: GroupId, now: Instant, error: Exception) -> InstalledGroup:
    state = last or InstalledGroup(group_id=group_id, deployment_id="")
    return replace(state, checked_at=now, error=f"{type(error).__name__}: {error}")


class _Pace:
    """Keeps reading to so many bytes a second, by sleeping in the thread that reads."""

    def __init__(self, bytes_per_second: int, clock: Clock, stop: threading.Event) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._stop = stop
        self._began = clock.monotonic()
        self._read = 0

    def __call__(self, count: int) -> None:
        if not self._rate:
            return
        self._read += count
        ahead = self._read / self._rate - (self._clock.monotonic() - self._began)
        if ahead > 0:
            self._stop.wait(ahead)
