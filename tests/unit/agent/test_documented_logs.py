"""`docs/operating/logs.md` names the files that there really are, and lines as they really look."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ferryman_agent.clock import SystemClock
from ferryman_agent.config import load
from ferryman_agent.core.messages import DeploymentId
from ferryman_agent.files.layout import Layout
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.hooks.output import ScriptsLog
from ferryman_agent.log import LogSettings, set_up
from tests.support.hook_runs import HookBench, description

PAGE = Path(__file__).parents[3] / "docs/operating/logs.md"


def rows() -> dict[str, str]:
    """File -> line, of the page's table."""
    found = re.findall(r"^\| `([^`]+)` \|.*\| `([^`]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def shape(line: str) -> str:
    """A line with its digits made alike."""
    return re.sub(r"\d", "0", line)


@pytest.mark.req("AG-446", "AG-440", "AG-C14", "AG-C15")
def test_the_files_are_those_of_the_agent(tmp_path: Path) -> None:
    config = load(None, {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    layout = Layout(config.root, config.program_name)
    deployment = layout.deployment("g-1", "d-1")
    names = {
        config.log_dir: "<log_dir>",
        config.root_dir: "<root_dir>",
        config.program_name: "<program_name>",
        "g-1/d-1": "<group id>/<deployment id>",
    }
    documented = re.findall(r"^\| `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    settings = LogSettings(log_dir=Path(config.log_dir), program_name=config.program_name)
    real = [settings.path, deployment.scripts_log, layout.deployments_log, config.wire_log_path]
    for path, name in zip(map(str, real), documented, strict=True):
        for value, placeholder in names.items():
            path = path.replace(value, placeholder)
        assert path == name


@pytest.fixture
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (None, "ferryman_agent"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.getLogger(name).level)
    monkeypatch.setattr(logging.getLogger(), "handlers", logging.getLogger().handlers)
    yield
    structlog.reset_defaults()


@pytest.mark.req("AG-446")
@pytest.mark.usefixtures("_logging_as_it_was")
def test_the_lines_are_those_of_the_agent(tmp_path: Path) -> None:
    clock = SystemClock()
    bench = HookBench(root=tmp_path)
    run = bench.run_of(
        deployment=description(deployment_id=DeploymentId("d-ABCDEF012")),
        deployments_log=tmp_path / "all.log",
    )
    scripts = ScriptsLog(run, HookSettings(), clock)
    scripts.write("[stdout]", b"listening on port 80\n")
    scripts.close()
    handler = set_up(LogSettings(log_dir=tmp_path, program_name="codedeploy-agent"), clock)
    structlog.get_logger("ferryman_agent.x").info("hook.ended", script="start.sh", ended="exit status 0")
    handler.close()
    agent, script, combined = rows().values()
    said = (tmp_path / "codedeploy-agent.log").read_text().splitlines()[-1]
    assert re.sub(r"\(0+\)", "(0)", shape(said)) == re.sub(r"\(0+\)", "(0)", shape(agent))
    assert shape(bench.place.scripts_log.read_text().rstrip("\n")) == shape(script)
    assert shape((tmp_path / "all.log").read_text().rstrip("\n")) == shape(combined)
