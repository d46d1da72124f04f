"""Whose scripts an event runs, from real deployment directories (AG 7.2, 7.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.errors import EventError
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.runtime.scripts import choose, destinations
from tests.support.segments import a_deployment

SPEC = """version: 0.0
os: linux
files:
  - {{source: /x, destination: /srv/{who}}}
hooks:
  ApplicationStop:
    - location: {who}.sh
  BeforeInstall:
    - location: {who}.sh
  BeforeBlockTraffic:
    - location: {who}.sh
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "root")
    made.prepare()
    return made


def place(
    layout: Layout, deployment: str, spec: str | None = None, name: str = "appspec.yml"
) -> DeploymentDir:
    directory = layout.create_deployment("g-1", deployment)
    (directory.archive / name).parent.mkdir(parents=True)
    (directory.archive / name).write_text(SPEC.format(who=deployment) if spec is None else spec)
    return directory


def chosen(
    layout: Layout,
    event: str,
    deployment: DeploymentDescription | None = None,
    *,
    fail_on_missing: bool = False,
) -> tuple[str | None, list[str]]:
    """Name of the deployment whose scripts run, and their locations."""
    found = choose(event, deployment or a_deployment(), layout, fail_on_missing=fail_on_missing)
    return found.archive.parent.name if found.archive else None, [each.location for each in found.scripts]


@pytest.mark.req("AG-192", "AG-205", "V2-042", "AG-118", "CP-253")
@pytest.mark.parametrize(
    "event", ["ApplicationStop", "BeforeBlockTraffic", "BeforeInstall", "ValidateService"]
)
def test_on_a_fresh_host_there_is_nothing_to_run(layout: Layout, event: str) -> None:
    assert chosen(layout, event) == (None, [])


@pytest.mark.req("AG-195", "AG-196", "AG-198", "AG-199", "V2-254")
def test_the_previous_revision_stops_until_the_current_one_is_there(layout: Layout) -> None:
    layout.set_last_successful("g-1", place(layout, "d-good").path)
    layout.set_most_recent("g-1", place(layout, "d-recent").path)
    rollback = a_deployment(deployment_creator="codeDeployRollback", deployment_type="BLUE_GREEN")
    assert chosen(layout, "ApplicationStop") == ("d-good", ["d-good.sh"])
    assert chosen(layout, "BeforeBlockTraffic") == ("d-good", ["d-good.sh"])
    assert chosen(layout, "BeforeBlockTraffic", rollback) == ("d-recent", ["d-recent.sh"])
    assert chosen(layout, "BeforeInstall") == (None, [])
    place(layout, "d-1")
    for event in ("ApplicationStop", "BeforeBlockTraffic", "BeforeInstall"):
        assert chosen(layout, event) == ("d-1", ["d-1.sh"])
        assert chosen(layout, event, rollback) == ("d-1", ["d-1.sh"])
    assert chosen(layout, "ValidateService") == ("d-1", []), "an event without scripts"


@pytest.mark.req("AG-203", "AG-204", "AG-262", "V2-170", "AG-X32", "AG-C16")
def test_each_revision_is_read_by_its_own_appspec_name(layout: Layout) -> None:
    previous = place(layout, "d-good", name="deploy/old.yml")
    previous.app_spec_name.write_text("deploy/old.yml")
    layout.set_last_successful("g-1", previous.path)
    current = a_deployment(app_spec_file_name="new.yml")
    assert chosen(layout, "ApplicationStop", current) == ("d-good", ["d-good.sh"])
    place(layout, "d-1", name="appspec.yaml")
    assert chosen(layout, "BeforeInstall", current) == ("d-1", ["d-1.sh"])


@pytest.mark.req("AG-206", "AG-S08")
def test_a_previous_revision_that_is_gone_is_skipped_with_a_warning_or_fails(layout: Layout) -> None:
    layout.set_last_successful("g-1", layout.create_deployment("g-1", "d-good").path)
    found = choose("ApplicationStop", a_deployment(), layout, fail_on_missing=False)
    assert found.scripts == ()
    assert "d-good" in found.warning
    with pytest.raises(EventError, match="d-good") as caught:
        chosen(layout, "ApplicationStop", fail_on_missing=True)
    assert caught.value.detail_code == "PREVIOUS_REVISION_MISSING"


@pytest.mark.req("AG-207", "AG-S08")
def test_a_broken_previous_appspec_says_whose_it_is_and_how_to_get_past_it(layout: Layout) -> None:
    layout.set_last_successful("g-1", place(layout, "d-good", "version: 0.0\nos: linux\nhooks: 3\n").path)
    with pytest.raises(EventError) as caught:
        chosen(layout, "ApplicationStop")
    assert caught.value.detail_code == "PREVIOUS_APPSPEC_INVALID"
    for fact in (
        "deployment d-good",
        "appspec.yml:3",
        "ignore-application-stop-failures",
        "forget-revision --group g-1",
    ):
        assert fact in caught.value.message


@pytest.mark.req("AG-120", "V2-042")
def test_a_current_appspec_that_is_broken_or_missing_fails_the_event(layout: Layout) -> None:
    directory = place(layout, "d-1", "version: 0.0\nos: linux\nhooks: 3\n")
    with pytest.raises(EventError, match="AppSpec file is broken"):
        chosen(layout, "BeforeInstall")
    (directory.archive / "appspec.yml").unlink()
    with pytest.raises(EventError, match="no AppSpec file") as caught:
        chosen(layout, "BeforeInstall")
    assert caught.value.detail_code == "APPSPEC_MISSING"


def test_destinations_are_those_of_the_appspec(layout: Layout) -> None:
    assert destinations(place(layout, "d-1"), "appspec.yml") == ["/srv/d-1"]
    assert destinations(place(layout, "d-2", "broken: ["), "appspec.yml") == []
    assert destinations(layout.create_deployment("g-1", "d-3"), "appspec.yml") == []
