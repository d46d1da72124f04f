"""Several groups on the same machines: side by side, made anew under an old name, and cleaned out before they go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, write_bundle

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("g"), agents=2)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def bundle(folder: Path, place: str, hooks: dict[str, str] | None = None) -> str:
    """Files for /srv/`place`."""
    write_bundle(folder, hooks or {}, {"page": place}, destination=f"/srv/{place}")
    return str(folder)


def deployment(fleet: Fleet, application: str, group: str) -> dict[str, object]:
    """The newest one."""
    listed = fleet.cli("deployment", "list", "-a", application, "-g", group, "--json")
    found: list[dict[str, object]] = json.loads(listed.stdout)
    return found[0]


@pytest.mark.req("T29", "CP-417", "CP-013", "CP-001")
def test_two_applications_are_deployed_to_the_same_machines_at_once(pair: Fleet, tmp_path: Path) -> None:
    assert pair.cli("application", "create", "other").returncode == 0
    made = pair.cli("group", "create", "all", "-a", "other", "--tag", "fleet=all")
    assert made.returncode == 0, made.stderr
    # Each waits until the other one's hook has run on the same machine.
    meeting = {
        "app": "touch {0}/app-$DEPLOYMENT_GROUP_NAME; while [ ! -e {0}/other-all ]; do sleep 0.05; done",
        "other": "touch {0}/other-$DEPLOYMENT_GROUP_NAME; while [ ! -e {0}/app-all ]; do sleep 0.05; done",
    }
    for application, wait in meeting.items():
        source = bundle(tmp_path / application, application, {"AfterInstall": wait.format(tmp_path)})
        started = pair.cli(
            *("deploy", "-a", application, "-g", "all", "--source", source, "--no-wait"),
            *("--config", "CodeDeployDefault.AllAtOnce"),
        )
        assert started.returncode == 0, started.stderr
    for application in meeting:
        deployment_id = str(deployment(pair, application, "all")["deploymentId"])
        ended = pair.cli("deployment", "watch", deployment_id)
        assert ended.returncode == 0, ended.stdout
    for agent in pair.agents:
        for application in meeting:
            assert (agent.install_root / "srv" / application / "page").read_text() == application


@pytest.mark.req("T74", "CP-007", "K12")
def test_a_group_made_anew_is_another_one_to_the_machines(pair: Fleet, tmp_path: Path) -> None:
    source = bundle(tmp_path / "again", "again")
    pair.create_group("again")
    before = json.loads(pair.cli("group", "show", "again", "-a", "app", "--json").stdout)
    assert pair.cli("deploy", "-a", "app", "-g", "again", "--source", source).returncode == 0
    assert pair.cli("group", "delete", "again", "-a", "app", "--yes").returncode == 0
    pair.create_group("again")
    after = json.loads(pair.cli("group", "show", "again", "-a", "app", "--json").stdout)
    assert after["deploymentGroupId"] != before["deploymentGroupId"]
    refused = pair.cli("deploy", "-a", "app", "-g", "again", "--source", source)
    assert refused.returncode == 1
    said = " ".join((refused.stdout + refused.stderr).split())
    assert before["deploymentGroupId"] in said
    assert "--adopt" in said
    adopted = pair.cli("deploy", "-a", "app", "-g", "again", "--source", source, "--adopt")
    assert adopted.returncode == 0, adopted.stdout


@pytest.mark.req("CP-184", "K12", "CP-181")
def test_a_group_can_be_cleaned_out_before_it_is_deleted(pair: Fleet, tmp_path: Path) -> None:
    pair.create_group("brief")
    stop = {"ApplicationStop": f"touch {tmp_path}/stopped-$$"}
    assert (
        pair.cli(
            "deploy", "-a", "app", "-g", "brief", "--source", bundle(tmp_path / "b", "brief", stop)
        ).returncode
        == 0
    )
    pages = [agent.install_root / "srv/brief/page" for agent in pair.agents]
    assert all(page.exists() for page in pages)
    deleted = pair.cli("group", "delete", "brief", "-a", "app", "--yes", "--clean-out")
    assert deleted.returncode == 0, deleted.stdout + deleted.stderr
    assert not any(page.exists() for page in pages)
    assert len(list(tmp_path.glob("stopped-*"))) == 2
    assert pair.cli("group", "show", "brief", "-a", "app").returncode == 5


@pytest.mark.req("CP-184")
def test_a_group_that_cannot_be_cleaned_out_stays(pair: Fleet, tmp_path: Path) -> None:
    pair.create_group("stays")
    waiting = {"AfterInstall": f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"}
    source = bundle(tmp_path / "b", "stays", waiting)
    started = pair.cli("deploy", "-a", "app", "-g", "stays", "--source", source, "--no-wait")
    assert started.returncode == 0, started.stderr
    deployment_id = str(deployment(pair, "app", "stays")["deploymentId"])
    refused = pair.cli("group", "delete", "stays", "-a", "app", "--yes", "--clean-out")
    assert refused.returncode == 5
    assert deployment_id in refused.stderr
    assert pair.cli("group", "show", "stays", "-a", "app").returncode == 0
    (tmp_path / "go").touch()
    assert pair.cli("deployment", "watch", deployment_id).returncode == 0


def test_a_group_without_instances_has_nothing_to_clean_out(pair: Fleet) -> None:
    made = pair.cli("group", "create", "empty", "-a", "app", "--tag", "fleet=none")
    assert made.returncode == 0
    deleted = pair.cli("group", "delete", "empty", "-a", "app", "--yes", "--clean-out")
    assert deleted.returncode == 0
    assert "nothing to clean out" in deleted.stderr
