"""`ferryman-local --dry-run`: the plan, and nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.local_tool import GROUP, LocalTool, application


def _tree(*folders: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode)
        for folder in folders
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.req("PF-337", "AG-287", "AG-X51")
def test_the_plan_is_shown_and_nothing_is_touched(tmp_path: Path) -> None:
    tool, srv = LocalTool(tmp_path / "home"), tmp_path / "srv"
    old = application(tmp_path / "old", ["ApplicationStop", "AfterInstall"], destination=srv)
    new = application(tmp_path / "new", ["AfterInstall", "Mine"], destination=srv / "below")
    with (new / "appspec.yml").open("a") as file:
        file.write(f"permissions:\n  - object: {srv}/below\n    type: [file]\n    mode: '0600'\n")
    nowhere = tool.run("--dry-run", cwd=old)
    assert nowhere.code == 0, nowhere.err
    assert not tool.home.exists()
    assert not srv.exists()
    first = tool.run(cwd=old)
    before = _tree(tool.home, srv, new)
    left = sorted(name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ferryman-dry-run"))
    archive = shutil.make_archive(str(tmp_path / "new"), "gztar", new)
    wanted = "ApplicationStop,DownloadBundle,Install,AfterInstall,Mine"
    done = tool.run("--dry-run", "--json", "-l", archive, "-e", wanted, cwd=tmp_path)
    assert done.code == 0, done.err
    assert _tree(tool.home, srv, new) == before
    assert left == sorted(n for n in os.listdir(tempfile.gettempdir()) if n.startswith("ferryman-dry-run"))
    plan = done.document
    assert plan["dryRun"] is True
    assert [event["lifecycleEvent"] for event in plan["events"]] == wanted.split(",")
    # ApplicationStop before the download is the previous revision's.
    (stop,) = plan["events"][0]["scripts"]
    assert stop["script"] == "scripts/ApplicationStop.sh"
    assert stop["timeoutSeconds"] == 3600
    (mine,) = plan["events"][4]["scripts"]
    assert mine["script"] == "scripts/Mine.sh"
    assert plan["files"] == [
        {
            "path": f"{srv}/below/content.txt",
            "action": "write",
            "source": "content.txt",
            "mode": "0600",
            "owner": plan["files"][0]["owner"],
            "group": plan["files"][0]["group"],
        }
    ]
    assert plan["removed"] == [f"{srv}/content.txt"]
    assert plan["variables"]["DEPLOYMENT_GROUP_ID"] == GROUP
    assert plan["variables"]["FERRYMAN_REVISION_DIR"].startswith(str(tool.group))

    text = tool.run("--dry-run", "-l", archive, "-e", wanted, cwd=tmp_path)
    lines = text.out.splitlines()
    assert f"  write {srv}/below/content.txt" in "\n".join(lines)
    assert f"  remove {srv}/content.txt" in lines
    assert any(line.startswith("  scripts/Mine.sh as ") for line in lines)
    assert f"  DEPLOYMENT_GROUP_ID={GROUP}" in lines
    installed = tool.run("--dry-run", "--no-install", "-e", "ApplicationStop", "--json", cwd=tmp_path)
    assert installed.document["events"][0]["scripts"] == plan["events"][0]["scripts"]
    assert "files" not in installed.document
    assert tool.deployments() == [first.folder.name]


@pytest.mark.req("PF-337", "AG-287")
def test_what_would_fail_fails_with_every_conflict(tmp_path: Path) -> None:
    tool, srv = LocalTool(tmp_path / "home"), tmp_path / "srv"
    app = application(tmp_path / "app", [], destination=srv)
    (app / "other.txt").write_text("x")
    text = (app / "appspec.yml").read_text()
    (app / "appspec.yml").write_text(f"{text}  - {{source: other.txt, destination: {srv}}}\n")
    srv.mkdir()
    for name in ("content.txt", "other.txt"):
        (srv / name).write_text("foreign")
    done = tool.run("--dry-run", cwd=app)
    assert done.code == 1
    assert f"{srv}/content.txt" in done.err
    assert f"{srv}/other.txt" in done.err
    assert tool.run("--dry-run", "-b", "RETAIN", "--json", cwd=app).document["retained"] == [
        f"{srv}/content.txt",
        f"{srv}/other.txt",
    ]
    (app / "appspec.yml").write_text(
        "version: 0.0\nos: linux\nfiles:\n  - {source: none, destination: /srv}\n"
    )
    broken = tool.run("--dry-run", cwd=app)
    assert broken.code == 1
    assert "none" in broken.err
    assert not tool.home.exists()
