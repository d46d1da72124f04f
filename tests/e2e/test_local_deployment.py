"""The demo's application by `ferryman-local`: no coordinator, no enrolment, only this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.support.local_tool import LocalTool

EXAMPLE = Path(__file__).parents[2] / "examples" / "web"


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[LocalTool]:
    made = LocalTool(tmp_path / "home")
    made.home.mkdir()
    (made.home / "ferrymanagent.yml").write_text(f"install:\n  root: {tmp_path}/machine\n")
    yield made
    # Whatever the test came to: the web server must not outlive it.
    made.run("--no-install", "--events", "ApplicationStop", cwd=tmp_path)


def _page(machine: Path) -> str:
    port = int((machine / "srv/web/port").read_text())
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        text = answer.read().decode()
    assert isinstance(text, str)
    return text


@pytest.mark.req("PF-330", "AG-474", "AG-507", "AG-482", "AG-503")
def test_the_demo_application_from_download_to_validation(tool: LocalTool, tmp_path: Path) -> None:
    machine = tmp_path / "machine"
    app = shutil.copytree(EXAMPLE / "app", tmp_path / "app")
    first = tool.run(cwd=app)
    assert first.code == 0, first.err
    assert "web server" in first.out
    assert first.folder.name in _page(machine)
    again = tool.run("-e", "ApplicationStop,DownloadBundle,Install,ApplicationStart,ValidateService", cwd=app)
    assert again.code == 0, again.err
    # A restart, by the previous revision's script: the new deployment serves.
    assert again.folder.name in _page(machine)

    # The mistake of the demo's next version shows before it gets anywhere.
    shutil.copy(EXAMPLE / "broken" / "page.html", app / "page.html")
    broken = tool.run("--json", cwd=app)
    assert broken.code == 1
    assert broken.document["status"] == "Failed"
    assert broken.events[-1] == "ValidateService"
    assert broken.document["failedScript"].endswith("deployment-archive/scripts/validate")
    with pytest.raises(HTTPError):
        _page(machine)

    shutil.copy(EXAMPLE / "app" / "page.html", app / "page.html")
    assert tool.run(cwd=app).code == 0
    stopped = tool.run("--no-install", "-e", "ApplicationStop", cwd=tmp_path)
    assert stopped.code == 0, stopped.err
    assert "stopped" in stopped.out
    assert not (machine / "srv/web/port").exists()
