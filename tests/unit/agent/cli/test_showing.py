"""config --show: every setting, its value and where it came from, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ferryman_agent.cli import main as cli
from ferryman_agent.cli import showing
from ferryman_agent.config import load, parse
from ferryman_agent.config.walk import leaves

TEXT = """\
max_revisions: 3
:proxy_uri: http://u:geheim@p:3128
profile: compat
hooks:
  cwd: archive
nonsense: 1
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FERRYMAN_AGENT_HOME", str(tmp_path))
    path = tmp_path / "ferrymanagent.yml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


@pytest.mark.req("AG-068", "V2-274")
def test_every_setting_with_its_value_and_origin(home: Path) -> None:
    content = json.loads(showing.as_json(load(None, {"FERRYMAN_AGENT_HOME": str(home.parent)})))
    found = content["settings"]
    assert set(found) == {".".join(key) for key, _ in leaves()}
    assert content["file"] == str(home)
    assert found["bundles.max_revisions"] == {"value": 3, "from": f"{home}:1"}
    assert found["proxy.coordinator"] == {"value": "http://u:***@p:3128", "from": f"{home}:2"}
    assert found["hooks.cwd"] == {"value": "archive", "from": f"{home}:5"}
    assert found["hooks.pass_agent_env"] == {"value": True, "from": "profile compat"}
    assert found["root_dir"] == {"value": f"{home.parent}/deployment-root", "from": "FERRYMAN_AGENT_HOME"}
    assert found["hooks.kill_grace"] == {"value": "5s", "from": "default"}
    assert found["proxy.no_proxy"] == {"value": [], "from": "default"}
    assert any("nonsense" in warning for warning in content["warnings"])
    assert "geheim" not in json.dumps(content)


@pytest.mark.req("AG-068")
def test_for_people_it_is_a_line_each(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in (
        (["config", "--show"], 0),
        (["config"], 0),
        (["config", "--show", "--profile", "x"], 1),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == code
        printed = capsys.readouterr()
        assert "geheim" not in printed.out + printed.err
        if arguments == ["config", "--show"]:
            lines = printed.out.splitlines()
            assert any(line.split()[:3] == ["bundles.max_revisions", "3", f"{home}:1"] for line in lines)
            assert any(line.startswith("warning") and "nonsense" in line for line in lines)
        elif code == 0:
            assert "can be used" in printed.out
        else:
            assert "--profile: profile" in printed.err


def test_with_no_file_it_says_so() -> None:
    assert showing.as_text(parse(b"", "f", {"FERRYMAN_AGENT_HOME": "/srv"})).startswith(
        "configuration  no file"
    )
