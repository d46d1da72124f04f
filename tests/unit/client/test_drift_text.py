"""What agents found installed, in words."""

from __future__ import annotations

import io

import pytest

from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.drift import instances_text, print_installed
from ferryman_client.cli.terminal import PlainConsole
from ferryman_client.cli.words import plain

SHA = "62ee64677d7c68dff172f7b090ee48d98908e34934512468e5dc3f694243025a"
RUNS = "runs revision 62ee64677d7c of web/production (deployment d-AAAAAAAAA)"
AS_OF = "  as of 2023-11-14T22:13:20.000Z, 8 looked at, "


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(
        render, "out", PlainConsole(file=written, width=10_000, highlight=False, markup=False)
    )
    return written


def health(**state: object) -> inventory_pb2.InstanceDeploymentHealth:
    given = {"deployment_id": "d-AAAAAAAAA", "files_checked": 8, "archive_whole": True} | state
    return inventory_pb2.InstanceDeploymentHealth(
        application_name="web",
        deployment_group_name="production",
        installed_revision=types_pb2.RevisionLocation(bundle=types_pb2.BundleLocation(sha256=SHA)),
        last_deployment_id="d-AAAAAAAAA",
        installed=pb.InstalledGroup(checked_at=1_700_000_000_000, **given),  # type: ignore[arg-type]
    )


def files(count: int) -> list[pb.DriftedFile]:
    kinds = (pb.FILE_DRIFT_CONTENT, pb.FILE_DRIFT_MISSING, pb.FILE_DRIFT_ATTRIBUTES, pb.FILE_DRIFT_KIND)
    return [pb.DriftedFile(path=f"/srv/{number}", drift=kinds[number % 4]) for number in range(count)]


@pytest.mark.req("AG-556")
@pytest.mark.parametrize(
    "state, lines",
    [
        ({}, [f"{RUNS}, no file changed", f"{AS_OF}by size, times, mode and owner"]),
        (
            {"files_drifted": 1, "drifted": files(1), "with_digests": True},
            [
                f"{RUNS}, 1 file changed:",
                "  /srv/0 has another content",
                f"{AS_OF}contents read",
                "  to mend it: ferryman deploy -a web -g production --revision 62ee64677d7c",
            ],
        ),
        (
            {"files_drifted": 4, "drifted": files(4), "archive_whole": False},
            [
                f"{RUNS}, 4 files changed:",
                "  /srv/0 has another content",
                "  /srv/1 is missing",
                "  /srv/2 has another mode, owner or group",
                "  /srv/3 is another kind of thing",
                f"{AS_OF}by size, times, mode and owner",
                "  its archive here is gone or damaged: a rollback to this revision may have to fetch it",
                "  to mend it: ferryman deploy -a web -g production --revision 62ee64677d7c",
            ],
        ),
        (
            {"archive_whole": False, "bundle_whole": True},
            [
                f"{RUNS}, no file changed",
                f"{AS_OF}by size, times, mode and owner",
                "  its unpacked archive here is gone or damaged, its bundle is whole: a rollback to this revision"
                " fetches nothing, and the next deployment may miss the scripts that stop it",
            ],
        ),
        (
            {"error": "there is no record"},
            [
                f"{RUNS}, could not be looked at: there is no record",
                f"{AS_OF}by size, times, mode and owner",
            ],
        ),
    ],
)
def test_what_is_installed(printed: io.StringIO, state: dict[str, object], lines: list[str]) -> None:
    print_installed([health(**state)])
    assert printed.getvalue().splitlines() == lines


@pytest.mark.req("AG-556")
def test_of_many_names_the_first_are_printed_and_the_rest_counted(printed: io.StringIO) -> None:
    print_installed([health(files_drifted=5_000, drifted=files(100))])
    lines = printed.getvalue().splitlines()
    assert [line.split()[0] for line in lines[1:11]] == [f"/srv/{number}" for number in range(10)]
    assert lines[11] == "  and 4990 more (--json names some)"


def test_nobody_has_looked_yet(printed: io.StringIO) -> None:
    fresh = health()
    fresh.ClearField("installed")
    print_installed([fresh])
    assert (
        printed.getvalue() == "web/production: nobody has looked at what deployment d-AAAAAAAAA installed\n"
    )


def test_after_a_failure_no_revision_is_claimed(printed: io.StringIO) -> None:
    failed = health(files_drifted=1, drifted=files(1))
    failed.ClearField("installed_revision")
    print_installed([failed])
    assert printed.getvalue().splitlines()[0] == "web/production (deployment d-AAAAAAAAA), 1 file changed:"
    assert "to mend it" not in printed.getvalue()


@pytest.mark.req("AG-556")
@pytest.mark.parametrize(
    "checked, drifted, text",
    [
        (0, 0, ""),
        (3, 0, "none of 3 instances has changed files"),
        (3, 1, "1 of 3 instances has changed files; `ferryman instance show` names them"),
        (3, 2, "2 of 3 instances have changed files; `ferryman instance show` names them"),
    ],
)
def test_a_group_counts_instances(checked: int, drifted: int, text: str) -> None:
    group = inventory_pb2.DeploymentGroup(checked_instances=checked, drifted_instances=drifted)
    assert str(instances_text(group)) == text


@pytest.mark.req("AG-556")
def test_the_names_in_json_stay() -> None:
    state = plain(health(files_drifted=1, drifted=files(1)))["installed"]
    assert list(state) == [
        "deploymentGroupId",
        "deploymentId",
        "filesChecked",
        "filesDrifted",
        "drifted",
        "checkedAt",
        "withDigests",
        "archiveWhole",
        "error",
        "bundleWhole",
    ]
    assert state["drifted"] == [{"path": "/srv/0", "drift": "CONTENT"}]
    assert state["checkedAt"] == "2023-11-14T22:13:20.000Z"
