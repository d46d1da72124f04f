"""Files that somebody changes on an instance: found, named, mended by deploying again (issue 3)."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ferryman.v1 import types_pb2
from tests.support.fleet import AgentProcess, Fleet

pytestmark = pytest.mark.timeout(180)

SUCCEEDED = types_pb2.DEPLOYMENT_STATUS_SUCCEEDED
FILES = {
    name: f"content of {name}\n" for name in ("kept", "changed", "deleted", "opened", "linked", "hidden")
}
FILL_IN = 'echo "instance $FERRYMAN_INSTALL_ROOT" >> "$FERRYMAN_INSTALL_ROOT/srv/app/kept"'


def app_of(agent: AgentProcess) -> Path:
    return agent.install_root / "srv/app"


def shown(fleet: Fleet, command: str, name: str, *options: str) -> dict[str, Any]:
    """Returns what `ferryman instance COMMAND NAME --json` says of the one group."""
    done = fleet.cli("instance", command, name, "--json", *options)
    assert done.returncode == 0, done.stderr
    (health,) = json.loads(done.stdout)["health"]
    assert isinstance(health, dict)
    return health


def installed(fleet: Fleet, name: str, deployment_id: str) -> dict[str, Any]:
    """Waits until the agent has told what that deployment left."""

    def is_told() -> bool:
        state = shown(fleet, "show", name)["installed"]
        return state is not None and state["deploymentId"] == deployment_id

    fleet.wait_until(is_told, f"{name} to tell what {deployment_id} left")
    state = shown(fleet, "show", name)["installed"]
    assert isinstance(state, dict)
    return state


def spoil(app: Path) -> None:
    (app / "changed").write_text("by hand\n")
    (app / "deleted").unlink()
    (app / "opened").chmod(0o666)
    (app / "linked").unlink()
    (app / "linked").symlink_to("/etc/hostname")
    status = (app / "hidden").stat()
    (app / "hidden").write_text("CONTENT OF HIDDEN\n")
    os.utime(app / "hidden", ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.req("AG-548", "AG-549", "AG-550", "AG-555", "AG-556", "AG-557")
def test_what_somebody_changes_is_named_and_mended(pair: Fleet) -> None:
    revision = pair.push({"AfterInstall": FILL_IN}, FILES)
    first = pair.run(revision).deployment
    assert first.status == SUCCEEDED
    spoilt, other = pair.agents
    for agent in pair.agents:
        # What the deployment's own hook appended is no drift.
        state = installed(pair, agent.name, first.deployment_id)
        assert (state["filesDrifted"], state["drifted"], state["error"]) == (0, [], "")
        assert (state["archiveWhole"], state["withDigests"]) == (True, False)

    spoil(app_of(spoilt))
    # Not by the schedule of a quarter of an hour: somebody asks.
    state = shown(pair, "check", spoilt.name)["installed"]
    root = str(app_of(spoilt))
    assert state["drifted"] == [
        {"path": f"{root}/changed", "drift": "CONTENT"},
        {"path": f"{root}/deleted", "drift": "MISSING"},
        {"path": f"{root}/hidden", "drift": "CONTENT"},
        {"path": f"{root}/linked", "drift": "KIND"},
        {"path": f"{root}/opened", "drift": "ATTRIBUTES"},
    ]
    assert (state["filesDrifted"], state["deploymentId"]) == (5, first.deployment_id)

    label = revision.bundle.sha256[:12]
    text = pair.cli("instance", "show", spoilt.name).stdout
    assert f"runs revision {label} of app/all (deployment {first.deployment_id}), 5 files changed:" in text
    assert f"{root}/deleted is missing" in text
    assert f"{root}/opened has another mode, owner or group" in text
    assert f"to mend it: ferryman deploy -a app -g all --revision {label}" in text
    assert "no file changed" in pair.cli("instance", "show", other.name).stdout
    assert "1 of 2 instances has changed files" in pair.cli("group", "show", "all", "-a", "app").stdout
    group = json.loads(pair.cli("group", "show", "all", "-a", "app", "--json").stdout)
    assert (group["checkedInstances"], group["driftedInstances"]) == (2, 1)
    pair.wait_until(lambda: "ferryman_instances_drifted 1.0" in metrics(pair), "the metric")

    mended = pair.run(revision).deployment
    assert mended.status == SUCCEEDED
    state = installed(pair, spoilt.name, mended.deployment_id)
    assert state["filesDrifted"] == 0
    for name, content in FILES.items():
        found = app_of(spoilt) / name
        assert not found.is_symlink()
        assert found.read_text().startswith(content)
        assert found.stat().st_mode & 0o777 == 0o644
    state = shown(pair, "check", spoilt.name, "--digests", "--group", "all")["installed"]
    assert (state["filesDrifted"], state["withDigests"]) == (0, True)


@pytest.mark.req("AG-555", "AG-558")
def test_who_cannot_answer_or_go_back_is_named(pair: Fleet) -> None:
    old = pair.run(pair.push(files=FILES)).deployment
    broken, other = pair.agents
    for agent in pair.agents:
        installed(pair, agent.name, old.deployment_id)
    root = broken.home / "root" if (broken.home / "root").is_dir() else broken.home
    (archive,) = root.rglob(f"{old.deployment_id}/deployment-archive")
    (archive / "files/kept").write_text("spoilt")
    # From a whole bundle it could be unpacked again.
    (archive.parent / "bundle.tar").write_bytes(b"spoilt")
    shown(pair, "check", broken.name)
    new = pair.push()
    warning = f"1 of 2 instances could not roll back from disk: {broken.name}"
    plan = pair.cli("deploy", "-a", "app", "-g", "all", "--revision", new.bundle.sha256[:12], "--plan")
    assert warning in plan.stderr
    assert "not whole" in plan.stdout
    assert "from disk" in plan.stdout
    as_json = pair.cli(
        "deploy", "-a", "app", "-g", "all", "--revision", new.bundle.sha256, "--plan", "--json"
    )
    can = {one["instanceName"]: one["canRollBack"] for one in json.loads(as_json.stdout)["targets"]}
    assert can == {broken.name: False, other.name: True}

    done = pair.run(new).deployment
    assert done.status == SUCCEEDED
    assert [text.partition(";")[0] for text in done.warnings] == [warning]
    assert warning in pair.cli("deployment", "show", done.deployment_id).stdout

    broken.stop()
    pair.wait_until(lambda: not pair.instances()[broken.name].is_connected, f"{broken.name} to be gone")
    refused = pair.cli("instance", "check", broken.name)
    assert refused.returncode == 5
    assert f"instance {broken.name} is not connected" in refused.stderr
    unknown = pair.cli("instance", "check", other.name, "--group", "none")
    assert unknown.returncode == 5
    assert f"nothing of 'none' was ever deployed to instance {other.name}" in unknown.stderr


def metrics(fleet: Fleet) -> str:
    with urllib.request.urlopen(f"{fleet.coordinator.ready['http']}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
