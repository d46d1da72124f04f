"""The deployments whose files are on this machine: found, described, and protected or not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferryman_agent import wiring
from ferryman_agent.cli import history
from ferryman_agent.config import Config, parse
from ferryman_agent.core.messages import BundleType, Diagnostics, Instant, RevisionSource, ScriptErrorCode
from ferryman_agent.errors import AgentError
from ferryman_agent.files import deployment_record
from ferryman_agent.files.deployment_record import RECORD_NAME, DeploymentRecord
from tests.support.segments import a_deployment

AT = Instant(1_800_000_000_000)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    wiring.layout(made).prepare()
    return made


def place(config: Config, group: str, deployment: str, *, size: int = 5000, code: int | None = 0) -> Path:
    folder = config.root / group / deployment
    (folder / "deployment-archive").mkdir(parents=True)
    (folder / "deployment-archive" / "x").write_bytes(bytes(range(256)) * (size // 256))
    if code is not None:
        failed = Diagnostics(error_code=ScriptErrorCode(code), message="m", detail_code="WHY" if code else "")
        number = int(deployment.removeprefix("d-"))
        event = deployment_record.event("Install", Instant(AT + number), failed, is_ignored=False)
        record = deployment_record.of(a_deployment(deployment_id=deployment)).with_events((event,))
        deployment_record.write(folder, record)
    return folder


@pytest.mark.req("AG-544", "AG-S25")
def test_what_is_there_is_listed_newest_first_with_what_protects_it(config: Config) -> None:
    for number in (1, 2, 3):
        place(config, "g-1", f"d-{number}", code=4 if number == 2 else 0)
    place(config, "g-2", "d-4", code=None)
    layout = wiring.layout(config)
    layout.set_last_successful("g-1", config.root / "g-1" / "d-1")
    layout.set_most_recent("g-1", config.root / "g-1" / "d-3")
    layout.set_last_successful("g-2", config.root / "g-2" / "d-4")
    layout.ongoing_mark("d-3").touch()
    os.utime(config.root / "g-2" / "d-4", (1, 1))
    found = history.kept_deployments(config)
    assert [one.deployment_id for one in found] == ["d-3", "d-2", "d-1", "d-4"]
    assert [one.result for one in found] == ["Succeeded", "Failed at Install (WHY)", "Succeeded", "Installed"]
    assert [one.protected for one in found] == [
        "most recent, in progress",
        "",
        "last successful",
        "last successful",
    ]
    assert found[0].ended_at == AT + 3
    assert all(one.size_bytes >= 4096 for one in found)
    rows = history.as_text(found).splitlines()
    assert rows[0].split() == ["deployment", "group", "revision", "result", "ended", "size", "kept"]
    assert len(rows) == 5
    assert "KiB" in rows[1]
    listed = json.loads(history.as_json(found))["deployments"]
    assert set(listed[0]) == {
        "deployment_id", "group_id", "group_name", "application_name", "revision", "result", "ended_at", "size_bytes",
        "protected",
    }  # fmt: skip


@pytest.mark.req("AG-544")
def test_what_is_not_ours_and_what_is_not_there(config: Config, tmp_path: Path) -> None:
    (config.root / "g-1" / "notes").mkdir(parents=True)
    (config.root / "lost+found").mkdir()
    (config.root / "a file").touch()
    (config.root / "bad name").mkdir()
    (config.root / "g-1" / "d-link").symlink_to("/etc")
    assert history.kept_deployments(config) == ()
    assert "no deployment" in history.as_text(())
    elsewhere = parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path / "none")}).config
    assert history.kept_deployments(elsewhere) == ()


@pytest.mark.req("AG-544")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_who_may_not_look_is_told_what_to_do(config: Config) -> None:
    config.root.chmod(0)
    with pytest.raises(AgentError, match="as root or as the agent's user"):
        history.kept_deployments(config)
    config.root.chmod(0o700)


def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "deployment-root").touch()
    with pytest.raises(AgentError, match="cannot read"):
        history.kept_deployments(parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config)


class TestRecord:
    def test_of_an_event_that_ran_again_the_last_time_counts(self) -> None:
        def ended(
            name: str, code: int, at: int, *, is_ignored: bool = False
        ) -> deployment_record.EventRecord:
            found = Diagnostics(error_code=ScriptErrorCode(code), message="")
            return deployment_record.event(name, Instant(at), found, is_ignored=is_ignored)

        record = deployment_record.of(a_deployment())
        first = record.with_events((ended("ApplicationStop", 4, 1, is_ignored=True), ended("Install", 5, 2)))
        assert first.result == "Failed at Install (5)"
        second = first.with_events((ended("Install", 0, 3), ended("AfterInstall", 0, 4)))
        assert second.result == "Succeeded"
        assert [event.name for event in second.events] == ["ApplicationStop", "Install", "AfterInstall"]
        assert second.ended_at == 4

    @pytest.mark.req("AG-095")
    def test_the_revision_is_shown_without_what_opens_doors(self) -> None:
        for url, expected in (
            ("https://u:geheim@s3/b/k.zip?sig=geheim", "https://s3/b/k.zip"),
            ("https://c/bundles/abc?expires=1&signature=geheim", "sha256:" + "0" * 64),
            ("/srv/revision", "/srv/revision"),
        ):
            source = RevisionSource(url=url, bundle_type=BundleType.ZIP, sha256="0" * 64)
            assert deployment_record.shown(source) == expected

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        content=st.binary(max_size=200) | st.text().map(lambda text: json.dumps({"events": text}).encode())
    )
    def test_a_broken_record_is_none(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / RECORD_NAME).write_bytes(content)
        assert deployment_record.read(tmp_path) is None
        (tmp_path / RECORD_NAME).unlink()
        assert deployment_record.read(tmp_path) is None

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        record = DeploymentRecord(deployment_id="d", group_name="g", application_name="a", revision="r")
        deployment_record.write(tmp_path, record)
        assert deployment_record.read(tmp_path) == record
        assert (tmp_path / RECORD_NAME).stat().st_mode & 0o777 == 0o600
