"""The table of lifecycle events, whose scripts they run, and which segments are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman_agent.core.lifecycle import LIFECYCLE_EVENTS, Origin, Work, origin_of, refusal, work_of
from ferryman_agent.core.messages import RevisionSource
from tests.support.segments import INSTANCE, a_deployment, a_segment

CURRENT, LAST, RECENT = Origin.CURRENT, Origin.LAST_SUCCESSFUL, Origin.MOST_RECENT


@pytest.mark.req("AG-187", "AG-115", "AG-117")
def test_thirteen_events_of_which_nine_run_scripts_and_two_are_the_coordinators() -> None:
    works = [work_of(name) for name in LIFECYCLE_EVENTS]
    assert len(works) == 13
    assert works.count(Work.SCRIPTS) == 9
    assert work_of("DownloadBundle") is Work.DOWNLOAD
    assert work_of("Install") is Work.INSTALL
    assert [name for name in LIFECYCLE_EVENTS if work_of(name) is Work.NOT_OURS] == [
        "BlockTraffic",
        "AllowTraffic",
    ]


# AG section 7.2, row by row: event, normally, in a blue/green deployment by codeDeployRollback.
ORIGINS = [
    ("BeforeBlockTraffic", LAST, RECENT),
    ("AfterBlockTraffic", LAST, RECENT),
    ("ApplicationStop", LAST, LAST),
    ("BeforeInstall", CURRENT, CURRENT),
    ("AfterInstall", CURRENT, CURRENT),
    ("ApplicationStart", CURRENT, CURRENT),
    ("ValidateService", CURRENT, CURRENT),
    ("BeforeAllowTraffic", CURRENT, LAST),
    ("AfterAllowTraffic", CURRENT, LAST),
    ("MyOwnEvent", CURRENT, CURRENT),
]


@pytest.mark.req("AG-195", "AG-196", "AG-197", "AG-200", "V2-254", "CP-254")
@pytest.mark.parametrize("event,normally,in_rollback", ORIGINS)
def test_whose_scripts_an_event_runs(event: str, normally: Origin, in_rollback: Origin) -> None:
    plain = a_deployment()
    rollback = a_deployment(deployment_creator="codeDeployRollback", deployment_type="BLUE_GREEN")
    assert origin_of(event, plain, has_archive=False) is normally
    assert origin_of(event, rollback, has_archive=False) is in_rollback
    for deployment in (plain, rollback):
        assert origin_of(event, deployment, has_archive=True) is CURRENT


@pytest.mark.req("AG-195")
@pytest.mark.parametrize(
    "creator,deployment_type",
    [("user", "BLUE_GREEN"), ("codeDeployRollback", "IN_PLACE"), ("autoscaling", "BLUE_GREEN")],
)
def test_only_a_rollback_of_blue_green_takes_the_other_column(creator: str, deployment_type: str) -> None:
    deployment = a_deployment(deployment_creator=creator, deployment_type=deployment_type)
    assert origin_of("BeforeBlockTraffic", deployment, has_archive=False) is LAST


def test_an_ordinary_segment_is_not_refused() -> None:
    assert refusal(a_segment(), INSTANCE) is None


@pytest.mark.req("AG-087", "V2-038", "V2-039")
@pytest.mark.parametrize("other", ["i-11", "i-", "I-1", "xi-1"])
def test_a_command_for_another_instance_is_refused(other: str) -> None:
    reason = refusal(a_segment(instance=other), INSTANCE)
    assert reason is not None
    assert other in reason


@pytest.mark.req("AG-109", "AG-110", "AG-117", "V2-044")
@pytest.mark.parametrize(
    "events,named",
    [
        ((), "no lifecycle event"),
        (("",), "no lifecycle event"),
        (("Install", "Instal"), "Instal"),
        (("BlockTraffic",), "BlockTraffic"),
        (("Install", "AllowTraffic"), "AllowTraffic"),
        (("Install", "Install"), "twice or out of order"),
        (("Install", "BeforeInstall"), "twice or out of order"),
    ],
)
def test_events_that_cannot_be_run_are_named(events: tuple[str, ...], named: str) -> None:
    reason = refusal(a_segment(events=events), INSTANCE)
    assert reason is not None
    assert named in reason


@pytest.mark.req("AG-146", "AG-147", "V2-133")
@pytest.mark.parametrize(
    "change,named",
    [
        ({"deployment_group_name": ""}, "group name"),
        ({"application_name": ""}, "application name"),
        (
            {"revision": RevisionSource(url="", bundle_type=a_deployment().revision.bundle_type)},
            "download address",
        ),
    ],
)
def test_a_missing_field_is_named(change: dict[str, Any], named: str) -> None:
    reason = refusal(a_segment(**change), INSTANCE)
    assert reason is not None
    assert named in reason


@pytest.mark.req("AG-148", "V2-135")
@pytest.mark.parametrize("name", ["..", ".", "a/b", "a b", "ü", "a\0b", "../x"])
def test_a_group_id_that_is_no_directory_name_is_refused(name: str) -> None:
    reason = refusal(a_segment(group=name), INSTANCE)
    assert reason is not None
    assert repr(name) in reason


@pytest.mark.req("V2-136")
@pytest.mark.parametrize(
    "name,is_right", [("deploy/app.yml", True), ("../x", False), ("/etc/x", False), ("a/../b", False)]
)
def test_the_app_spec_file_lies_in_the_revision(name: str, is_right: bool) -> None:
    assert (refusal(a_segment(app_spec_file_name=name), INSTANCE) is None) is is_right
