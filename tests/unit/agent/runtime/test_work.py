"""The work of events: directory and marker first, limits, notes, and what is left over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.core.facts import Perform, WorkEnded
from ferryman_agent.core.lifecycle import work_of
from ferryman_agent.core.messages import Diagnostics, ScriptErrorCode, Segment
from ferryman_agent.errors import BundleError, EventError
from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.layout import Layout
from ferryman_agent.hooks.contract import HookRun, HookSettings
from ferryman_agent.runtime import work
from ferryman_agent.runtime.destinations import DestinationTurns
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.prefetch import ArchiveTurns, Prefetches
from ferryman_agent.runtime.watch import EventWatch
from ferryman_agent.runtime.work import Worker, WorkSettings
from ferryman_agent.system import fs
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import a_deployment, a_segment


class Bench:
    """A worker whose downloads, installs and hooks are in the test's hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualAgentClock()
        self.layout = Layout(folder / "root", state_dir=folder / "state")
        self.layout.prepare()
        self.journal = Journal(folder / "state" / "journal", self.clock)
        self.journal.open()
        self.stop = asyncio.Event()
        self.called: list[str] = []
        self.doing: dict[str, Callable[[], Awaitable[str]]] = {}
        self.runs: list[HookRun] = []
        self.hooks: Callable[[HookRun, dict[str, Any]], Awaitable[Diagnostics]] = self._no_trouble
        self.turns = ArchiveTurns()
        self.worker = Worker(
            layout=self.layout,
            clock=self.clock,
            settings=WorkSettings(hooks=HookSettings()),
            download=lambda deployment, progress: self._do("download"),
            install=lambda deployment: self._do("install"),
            run_hooks=self._run_hooks,
            turns=self.turns,
        )

    async def _do(self, what: str) -> str:
        self.called.append(what)
        return await self.doing[what]() if what in self.doing else "Succeeded"

    async def _run_hooks(self, run: HookRun, **around: Any) -> Diagnostics:
        self.runs.append(run)
        return await self.hooks(run, around)

    async def _no_trouble(self, run: HookRun, around: dict[str, Any]) -> Diagnostics:
        return Diagnostics()

    async def perform(self, event: str, segment: Segment | None = None) -> WorkEnded:
        segment = segment or a_segment()
        watch = EventWatch(
            segment.command_id,
            event,
            stop=self.stop,
            journal=self.journal,
            lines=LiveLines(),
            clock=self.clock,
            changed=lambda: None,
        )
        return await self.worker.perform(segment, Perform(lifecycle_event=event, work=work_of(event)), watch)

    def place(self, deployment: str = "d-1", *events: str) -> None:
        """Puts an archive there, with a script for BeforeInstall and these events."""
        archive = self.layout.create_deployment("g-1", deployment).archive
        archive.mkdir()
        hooks = "".join(f"  {event}:\n    - location: s.sh\n" for event in ("BeforeInstall", *events))
        (archive / "appspec.yml").write_text(
            f"version: 0.0\nos: linux\nfiles:\n  - {{source: x, destination: /srv/app}}\nhooks:\n{hooks}"
        )


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


@pytest.mark.req("AG-114", "AG-129", "V2-011", "V2-015", "V2-020")
async def test_the_directory_and_the_marker_are_there_while_something_runs(bench: Bench) -> None:
    segment, marker = a_segment(), bench.layout.ongoing / "d-1"
    seen: list[str] = []

    async def look() -> str:
        seen.append(marker.read_text())
        return "Succeeded: so and so"

    bench.doing["download"] = look
    ended = await bench.perform("DownloadBundle", segment)
    assert ended.diagnostics.message == "Succeeded: so and so"
    assert seen == [segment.command_id]
    assert marker.stat().st_mode & 0o777 == 0o600
    assert bench.layout.deployment("g-1", "d-1").app_spec_name.read_text() == "appspec.yml"
    await bench.worker.finish(segment)
    assert not marker.exists()
    await bench.worker.finish(segment)


@pytest.mark.req("AG-119", "AG-190")
async def test_an_event_without_scripts_touches_nothing(bench: Bench) -> None:
    ended = await bench.perform("ValidateService")
    assert ended.diagnostics.is_success
    assert not (bench.layout.root / "g-1").exists()
    assert bench.layout.ongoing_deployments() == frozenset()
    assert bench.runs == []


@pytest.mark.req("AG-190", "CP-255")
async def test_an_event_that_the_revision_has_no_scripts_for_succeeds_at_once(bench: Bench) -> None:
    bench.place()
    ended = await bench.perform("ValidateService")
    assert ended.diagnostics.is_success
    assert ended.diagnostics.duration_ms == 0
    assert bench.runs == []
    await bench.perform("BeforeInstall")
    assert len(bench.runs) == 1


@pytest.mark.req("CP-252")
@pytest.mark.parametrize("event, work", [("DownloadBundle", "download"), ("Install", "install")])
async def test_scripts_for_the_agents_own_events_are_not_run(bench: Bench, event: str, work: str) -> None:
    bench.place("d-1", event)
    assert (await bench.perform(event)).diagnostics.is_success
    assert bench.called == [work]
    assert bench.runs == []


@pytest.mark.req("AG-201")
async def test_hooks_get_what_they_need(bench: Bench) -> None:
    bench.place("d-0")
    bench.layout.set_last_successful("g-1", bench.layout.deployment("g-1", "d-0").path)
    bench.place()
    assert (await bench.perform("BeforeInstall")).diagnostics.is_success
    (run,) = bench.runs
    assert run.archive == bench.layout.deployment("g-1", "d-1").archive
    assert run.previous_archive == bench.layout.deployment("g-1", "d-0").archive
    assert [script.location for script in run.scripts] == ["s.sh"]
    assert run.event_timeout_seconds == 3600
    assert run.deployments_log == bench.layout.deployments_log


@pytest.mark.req("AG-453", "AG-112", "AG-E05")
async def test_every_failure_is_how_the_event_ended(bench: Bench) -> None:
    async def refuse() -> str:
        raise BundleError("BUNDLE_DIGEST", "the digest is wrong")

    async def full() -> str:
        raise OSError(28, "No space left on device", "/x")

    bench.doing |= {"download": refuse, "install": full}
    ended = await bench.perform("DownloadBundle")
    assert ended.diagnostics.error_code is ScriptErrorCode.UNKNOWN_ERROR
    assert (ended.diagnostics.detail_code, ended.diagnostics.message) == (
        "BUNDLE_DIGEST",
        "the digest is wrong",
    )
    ended = await bench.perform("Install")
    assert "No space left on device (/x)" in ended.diagnostics.message


@pytest.mark.req("AG-Q02")
async def test_a_download_over_its_limit_is_given_up(bench: Bench) -> None:
    given_up = asyncio.Event()

    async def hang() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return ""

    bench.doing["download"] = hang
    running = asyncio.create_task(bench.perform("DownloadBundle"))
    await bench.clock.until_sleeping(3600)
    bench.clock.advance(3600)
    ended = await asyncio.wait_for(running, 20)
    assert given_up.is_set()
    assert ended.diagnostics.error_code is ScriptErrorCode.SCRIPT_TIMED_OUT
    assert "3600 seconds" in ended.diagnostics.message
    assert ended.diagnostics.duration_ms == 3_600_000


@pytest.mark.req("AG-128")
async def test_a_download_can_be_stopped(bench: Bench) -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    bench.doing["download"] = hang
    running = asyncio.create_task(bench.perform("DownloadBundle"))
    await bench.clock.until_sleeping(3600)
    bench.stop.set()
    ended = await asyncio.wait_for(running, 20)
    assert ended.is_stopped
    assert not ended.diagnostics.is_success


@pytest.mark.req("AG-Q02")
async def test_an_install_over_its_limit_fails_and_holds_the_group_until_it_is_over(bench: Bench) -> None:
    segment, gate = a_segment(), asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "Succeeded"

    bench.doing["install"] = slow
    running = asyncio.create_task(bench.perform("Install", segment))
    await bench.clock.until_sleeping(3600)
    bench.clock.advance(3600)
    ended = await asyncio.wait_for(running, 20)
    assert ended.diagnostics.detail_code == "EVENT_TIMED_OUT"
    finishing = asyncio.create_task(bench.worker.finish(segment))
    await asyncio.sleep(0)
    assert not finishing.done()
    assert (bench.layout.ongoing / "d-1").exists()
    gate.set()
    await asyncio.wait_for(finishing, 20)
    assert not (bench.layout.ongoing / "d-1").exists()


async def test_what_hooks_leave_to_be_ended_holds_the_group_too(bench: Bench) -> None:
    segment, gate = a_segment(), asyncio.Event()
    bench.place()

    async def leave(run: HookRun, around: dict[str, Any]) -> Diagnostics:
        async def ending() -> None:
            await gate.wait()

        around["background"](ending)
        return Diagnostics(error_code=ScriptErrorCode.SCRIPT_TIMED_OUT, message="late")

    bench.hooks = leave
    assert not (await bench.perform("BeforeInstall", segment)).diagnostics.is_success
    finishing = asyncio.create_task(bench.worker.finish(segment))
    await asyncio.sleep(0)
    assert not finishing.done()
    gate.set()
    await asyncio.wait_for(finishing, 20)


@pytest.mark.req("AG-155")
async def test_a_name_that_cannot_be_a_directory_fails_the_event(bench: Bench) -> None:
    for group in ("deployment-logs", "../x"):
        ended = await bench.perform("DownloadBundle", a_segment(group=group))
        assert ended.diagnostics.detail_code == "UNSAFE_ID"
    assert bench.called == []


@pytest.mark.req("AG-123")
async def test_installs_to_overlapping_places_take_turns_and_others_do_not() -> None:
    turns, order = DestinationTurns(), []
    gate = asyncio.Event()

    async def install(name: str, *destinations: str) -> None:
        async with turns.of(destinations):
            order.append(f"begin {name}")
            await gate.wait()
            order.append(f"end {name}")

    tasks = [
        asyncio.create_task(install("a", "/srv/app", "/etc/app")),
        asyncio.create_task(install("inside", "/srv/app/static")),
        asyncio.create_task(install("above", "/srv")),
        asyncio.create_task(install("beside", "/srv/application")),
        asyncio.create_task(install("nowhere")),
    ]
    for _ in range(10):
        await asyncio.sleep(0)
    assert order == ["begin a", "begin beside", "begin nowhere"]
    gate.set()
    await asyncio.gather(*tasks)
    assert order.index("end a") < order.index("begin inside")
    assert order.index("end inside") < order.index("begin above") or order.index("end above") < order.index(
        "begin inside"
    )


class TestPrefetch:
    async def test_a_few_at_a_time_and_each_is_answered(self) -> None:
        gate, finished = asyncio.Event(), asyncio.Event()
        running: list[str] = []
        done: list[tuple[str, str]] = []

        async def fetch(deployment: Any) -> None:
            running.append(deployment.deployment_id)
            await gate.wait()
            if deployment.deployment_id == "d-2":
                raise EventError("X", "no such bundle")
            if deployment.deployment_id == "d-3":
                raise RuntimeError("a mistake of ours")

        def hear(ident: str, error: str) -> None:
            done.append((ident, error))
            if len(done) == 3:
                finished.set()

        prefetches = Prefetches(fetch, hear, ArchiveTurns())
        task = asyncio.create_task(prefetches.run())
        await asyncio.sleep(0)
        for number in (1, 1, 2, 3, 4):
            prefetches.request(a_deployment(f"d-{number}"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert running == ["d-1", "d-2"]
        prefetches.forget(a_deployment("d-4").deployment_id)
        gate.set()
        await asyncio.wait_for(finished.wait(), 20)
        assert sorted(done) == [
            ("d-1", ""),
            ("d-2", "no such bundle"),
            ("d-3", "RuntimeError: a mistake of ours"),
        ]
        prefetches.end()
        await asyncio.wait_for(task, 20)
        prefetches.request(a_deployment("d-5"))
        assert "d-5" not in running

    async def test_a_deployment_s_archive_has_one_writer(self, bench: Bench) -> None:
        gate, order = asyncio.Event(), []

        async def fetch(deployment: Any) -> None:
            order.append("prefetch")
            await gate.wait()
            order.append("prefetched")

        prefetches = Prefetches(fetch, lambda ident, error: None, bench.turns)
        task = asyncio.create_task(prefetches.run())
        await asyncio.sleep(0)
        prefetches.request(a_deployment("d-1"))
        for _ in range(5):
            await asyncio.sleep(0)
        downloading = asyncio.create_task(bench.perform("DownloadBundle"))
        other = asyncio.create_task(bench.perform("DownloadBundle", a_segment("d-2", "g-2")))
        await asyncio.wait_for(other, 20)
        assert bench.called == ["download"]
        gate.set()
        await asyncio.wait_for(downloading, 20)
        assert order == ["prefetch", "prefetched"]
        assert bench.called == ["download", "download"]
        prefetches.end()
        await asyncio.wait_for(task, 20)


@pytest.mark.req("AG-460")
async def test_lines_that_were_not_sent_are_told_with_the_result(bench: Bench) -> None:
    async def talk(run: HookRun, around: dict[str, Any]) -> Diagnostics:
        around["watcher"].lines("s.sh", [], 7)
        return Diagnostics()

    bench.place()
    bench.hooks = talk
    assert (await bench.perform("BeforeInstall")).diagnostics.dropped_lines == 7
    assert (await bench.perform("DownloadBundle")).diagnostics.dropped_lines == 0


class TestMarker:
    @pytest.mark.req("AG-131", "V2-022")
    async def test_a_refused_one_is_tried_again_after_1_2_and_5_seconds(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries: list[float] = []
        refusals = [PermissionError(13, "Permission denied", "the-marker")] * 3
        write = write_atomic

        def write_at_last(path: Path, content: bytes) -> None:
            tries.append(bench.clock.monotonic())
            if refusals:
                raise refusals.pop()
            write(path, content)

        monkeypatch.setattr(work, "write_atomic", write_at_last)
        bench.place("d-1")
        ended = asyncio.ensure_future(bench.perform("BeforeInstall"))
        for seconds in (1.0, 2.0, 5.0):
            await bench.clock.until_sleeping(seconds)
            bench.clock.advance(seconds)
        assert (await ended).diagnostics.is_success
        assert [later - earlier for earlier, later in pairwise(tries)] == [1.0, 2.0, 5.0]

    @pytest.mark.req("AG-131", "AG-114")
    async def test_then_the_event_fails_and_names_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path, content: bytes) -> None:
            raise PermissionError(13, "Permission denied", "the-marker")

        monkeypatch.setattr(work, "write_atomic", refuse)
        bench.place("d-1")
        ended = asyncio.ensure_future(bench.perform("BeforeInstall"))
        for seconds in (1.0, 2.0, 5.0):
            await bench.clock.until_sleeping(seconds)
            bench.clock.advance(seconds)
        diagnostics = (await ended).diagnostics
        assert diagnostics.detail_code == "DEPLOYMENT_DIR"
        assert "the-marker" in diagnostics.message
        assert bench.runs == []

    @pytest.mark.req("AG-129", "AG-132", "V2-014", "V2-015", "V2-020", "V2-021")
    async def test_it_is_there_before_the_work_with_the_command_alone_and_goes_with_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[bytes, int, list[str]]] = []
        flushed: list[list[str]] = []
        real = fs.fsync

        def fsync(descriptor: int) -> None:
            real(descriptor)
            flushed.append(os.listdir(bench.layout.ongoing) if bench.layout.ongoing.exists() else [])

        monkeypatch.setattr(fs, "fsync", fsync)

        async def look(run: HookRun, around: dict[str, Any]) -> Diagnostics:
            folder = bench.layout.ongoing
            marker = folder / "d-1"
            seen.append((marker.read_bytes(), marker.stat().st_mode & 0o777, os.listdir(folder)))
            return Diagnostics()

        bench.hooks = look
        bench.place("d-1")
        segment = a_segment()
        await bench.perform("BeforeInstall", segment)
        assert seen == [(segment.command_id.encode(), 0o600, ["d-1"])]
        # Under another name it is on the disk before it is there.
        assert [names for names in flushed if len(names) == 1 and names != ["d-1"]]
        await bench.worker.finish(segment)
        assert os.listdir(bench.layout.ongoing) == []

    @pytest.mark.req("V2-019", "V2-005")
    async def test_one_that_is_gone_or_stays_ends_nothing(self, bench: Bench) -> None:
        bench.place("d-1")
        segment = a_segment()
        await bench.perform("BeforeInstall", segment)
        marker = bench.layout.ongoing_mark("d-1")
        marker.unlink()
        await bench.worker.finish(segment)
        # Something that cannot be removed like a file.
        marker.mkdir()
        await bench.worker.finish(segment)
        assert marker.is_dir()
