"""Events whose scripts are a previous revision's, from the choice to the real script."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from ferryman_agent.core.facts import Perform
from ferryman_agent.core.lifecycle import Work, work_of
from ferryman_agent.core.messages import (
    BundleType,
    DeploymentDescription,
    Diagnostics,
    RevisionSource,
    S3Object,
    ScriptErrorCode,
    Segment,
)
from ferryman_agent.files.layout import Layout
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.hooks.runner import run_hooks
from ferryman_agent.runtime.journal import Journal
from ferryman_agent.runtime.live_lines import LiveLines
from ferryman_agent.runtime.prefetch import ArchiveTurns
from ferryman_agent.runtime.watch import EventWatch
from ferryman_agent.runtime.work import Worker, WorkSettings
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import a_segment

REVISION = RevisionSource(
    url="https://x",
    bundle_type=BundleType.ZIP,
    s3=S3Object(bucket="b", key="new.zip", version="v2"),
)


class Host:
    """Deployments on disk, and a worker that runs real scripts."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualAgentClock()
        self.layout = Layout(folder / "root", state_dir=folder / "state")
        self.layout.prepare()
        self.journal = Journal(folder / "state" / "journal", self.clock)
        self.journal.open()

    def place(self, deployment: str, hooks: dict[str, str | None]) -> None:
        """Unpack a revision with these scripts; None: named, but not in it. It is what was deployed last."""
        directory = self.layout.create_deployment("g-1", deployment)
        directory.archive.mkdir()
        for event, text in hooks.items():
            if text is not None:
                (directory.archive / f"{event}.sh").write_text(f"#!/bin/sh\n{text}\n")
        spec = {
            "version": 0.0,
            "os": "linux",
            "hooks": {event: [{"location": f"{event}.sh"}] for event in hooks},
        }
        (directory.archive / "appspec.yml").write_text(yaml.safe_dump(spec))

    def installed(self, deployment: str) -> None:
        self.layout.set_last_successful("g-1", self.layout.deployment("g-1", deployment).path)

    def downloaded(self, deployment: str) -> None:
        self.layout.set_most_recent("g-1", self.layout.deployment("g-1", deployment).path)

    async def perform(self, event: str, segment: Segment, *, fail_on_missing: bool = False) -> Diagnostics:
        async def never(*_: object) -> str:
            raise AssertionError("neither downloads nor installs")

        worker = Worker(
            layout=self.layout,
            clock=self.clock,
            settings=WorkSettings(hooks=HookSettings(), fail_on_missing_previous=fail_on_missing),
            download=never,
            install=never,
            run_hooks=run_hooks,
            turns=ArchiveTurns(),
        )
        watch = EventWatch(
            segment.command_id,
            event,
            stop=asyncio.Event(),
            journal=self.journal,
            lines=LiveLines(),
            clock=self.clock,
            changed=lambda: None,
        )
        perform = Perform(lifecycle_event=event, work=work_of(event))
        found = await worker.perform(segment, perform, watch)
        await worker.finish(segment)
        return found.diagnostics


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def deployment(number: int, **keys: object) -> Segment:
    keys.setdefault("revision", REVISION)
    return a_segment(f"d-{number}", **keys)  # type: ignore[arg-type]  # of the fields' types


def printed(found: Diagnostics) -> list[str]:
    return [line.removeprefix("[stdout]") for line in found.log.splitlines() if line.startswith("[stdout]")]


@pytest.mark.req("AG-T56", "AG-192", "AG-201", "AG-202", "AG-435", "AG-455", "AG-384")
async def test_the_previous_application_stop_runs_with_what_the_new_deployment_is(host: Host) -> None:
    assert await host.perform("ApplicationStop", deployment(1)) == Diagnostics(), "on a fresh host"
    says = (
        'echo "$DEPLOYMENT_ID $BUNDLE_KEY $BUNDLE_VERSION ${BUNDLE_ETAG-none}"; echo "$FERRYMAN_REVISION_DIR"'
    )
    host.place("d-1", {"ApplicationStop": says})
    host.installed("d-1")
    found = await host.perform("ApplicationStop", deployment(2))
    assert found.is_success, found
    archive = host.layout.deployment("g-1", "d-1").archive
    assert printed(found) == ["d-2 new.zip v2 none", str(archive)]
    assert found.revision_deployment_id == "d-1"
    assert found.host_log_path == str(host.layout.deployment("g-1", "d-2").scripts_log)
    assert "[stdout]d-2 new.zip" in Path(found.host_log_path).read_text()
    assert not host.layout.deployment("g-1", "d-1").scripts_log.exists()


@pytest.mark.req("AG-T57", "AG-198", "AG-C06")
async def test_a_deployment_that_failed_after_its_install_is_the_last_successful_one_here(host: Host) -> None:
    for number in (1, 2):
        host.place(f"d-{number}", {"ApplicationStop": f"echo {number}", "AfterInstall": "exit 1"})
        host.installed(f"d-{number}")
    failed = await host.perform("AfterInstall", deployment(2))
    assert failed.error_code is ScriptErrorCode.SCRIPT_FAILED
    assert printed(await host.perform("ApplicationStop", deployment(3))) == ["2"]


@pytest.mark.req("AG-T58", "AG-195", "AG-185", "CP-254")
async def test_a_rollback_of_blue_green_takes_the_scripts_of_the_table(host: Host) -> None:
    events = ("BeforeBlockTraffic", "BeforeAllowTraffic", "ApplicationStop")
    for name in ("good", "recent"):
        host.place(f"d-{name}", dict.fromkeys(events, f"echo {name}"))
    host.installed("d-good")
    host.downloaded("d-recent")
    rollback = deployment(9, deployment_creator="codeDeployRollback", deployment_type="BLUE_GREEN")
    assert printed(await host.perform("BeforeBlockTraffic", rollback)) == ["recent"]
    assert printed(await host.perform("BeforeAllowTraffic", rollback)) == ["good"]
    # A termination, as every other deployment that has no archive of its own.
    ordinary = deployment(9, deployment_creator="autoscaling")
    assert printed(await host.perform("BeforeBlockTraffic", ordinary)) == ["good"]
    assert printed(await host.perform("ApplicationStop", ordinary)) == ["good"]
    assert await host.perform("BeforeAllowTraffic", ordinary) == Diagnostics()


@pytest.mark.req("AG-T59", "AG-206", "AG-X31")
async def test_a_previous_revision_that_was_deleted_is_a_warning_or_code_5(host: Host) -> None:
    host.installed("d-gone")
    found = await host.perform("ApplicationStop", deployment(2))
    assert found.is_success
    assert "d-gone" in found.message
    failed = await host.perform("ApplicationStop", deployment(2), fail_on_missing=True)
    assert failed.error_code is ScriptErrorCode.UNKNOWN_ERROR


@pytest.mark.req("AG-208", "AG-E01", "AG-370")
async def test_a_script_that_the_previous_archive_lacks_is_code_1(host: Host) -> None:
    host.place("d-1", {"ApplicationStop": None})
    host.installed("d-1")
    found = await host.perform("ApplicationStop", deployment(2))
    assert (found.error_code, found.script_name) == (ScriptErrorCode.SCRIPT_MISSING, "ApplicationStop.sh")
    assert str(host.layout.deployment("g-1", "d-1").archive / "ApplicationStop.sh") in found.message
    assert found.script_index == 0


@pytest.mark.req("AG-209")
async def test_a_script_that_was_changed_on_the_machine_is_told_with_the_result(host: Host) -> None:
    host.place("d-1", {"ApplicationStop": "exit 0"})
    host.installed("d-1")
    directory = host.layout.deployment("g-1", "d-1")
    # As unpacked: a record that knows of another content.
    directory.archive_digests.write_text(
        '[["ApplicationStop.sh",1,17,1,1,"ab"],["appspec.yml",1,1,1,1,"ab"]]'
    )
    found = await host.perform("ApplicationStop", deployment(2))
    assert found.is_success
    assert "Warning: ApplicationStop.sh, appspec.yml of deployment d-1" in found.message


@pytest.mark.req("AG-210", "AG-192")
async def test_a_forgotten_revision_runs_nothing(host: Host) -> None:
    host.place("d-1", {"ApplicationStop": "exit 1"})
    host.installed("d-1")
    assert not (await host.perform("ApplicationStop", deployment(2))).is_success
    host.layout.forget_last_successful("g-1")
    assert await host.perform("ApplicationStop", deployment(2)) == Diagnostics()


@pytest.mark.req("AG-411", "AG-190", "AG-436")
async def test_an_event_without_scripts_has_neither_timer_nor_log(host: Host) -> None:
    host.place("d-2", {"BeforeInstall": "true"})
    described: DeploymentDescription = deployment(2).deployment
    without_time = Segment(
        command_id=deployment(2).command_id,
        deployment=described,
        lifecycle_events=("AfterInstall",),
        event_timeout_seconds=0,
    )
    assert await host.perform("AfterInstall", without_time) == Diagnostics()
    assert not host.layout.deployment("g-1", "d-2").scripts_log.exists()


@pytest.mark.req("AG-188")
async def test_scripts_of_events_that_have_none_are_never_run(host: Host) -> None:
    host.place("d-2", {"Start": "exit 1", "End": "exit 1", "Install": "exit 1", "BeforeInstall": "echo runs"})
    assert printed(await host.perform("BeforeInstall", deployment(2))) == ["runs"]
    assert work_of("Install") is not Work.SCRIPTS
    assert work_of("DownloadBundle") is not Work.SCRIPTS
