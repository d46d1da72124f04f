"""`ferryman-agent forget-revision`: past a broken ApplicationStop without a console."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ferryman_agent import wiring
from ferryman_agent.cli import main
from ferryman_agent.config import Config, load
from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime.scripts import choose
from tests.support.segments import a_deployment


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("FERRYMAN_AGENT_HOME", str(tmp_path))
    return load(None, {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config


@pytest.fixture
def layout(config: Config) -> Layout:
    made = wiring.layout(config)
    made.prepare()
    directory = made.create_deployment("g-1", "d-good")
    directory.archive.mkdir()
    spec = {"version": 0.0, "os": "linux", "hooks": {"ApplicationStop": [{"location": "broken.sh"}]}}
    (directory.archive / "appspec.yml").write_text(yaml.safe_dump(spec))
    made.set_last_successful("g-1", directory.path)
    made.set_most_recent("g-1", directory.path)
    return made


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.req("AG-210", "AG-S08", "AG-X31")
def test_the_next_deployment_runs_none_of_its_scripts(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose("ApplicationStop", a_deployment(), layout, fail_on_missing=False).scripts
    assert run("forget-revision", "--group", "g-1") == 0
    assert "Forgot deployment d-good" in capsys.readouterr().out
    assert not choose("ApplicationStop", a_deployment(), layout, fail_on_missing=False).scripts
    assert layout.most_recent("g-1") is not None, "its files stay"
    assert run("forget-revision", "--group", "g-1") == 0
    assert "Nothing to forget" in capsys.readouterr().out


def test_a_group_that_is_not_here_is_named_with_those_that_are(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("forget-revision", "--group", "g-2") == 1
    said = capsys.readouterr().err
    assert "'g-2'" in said
    assert "g-1" in said
    assert layout.last_successful("g-1") is not None
