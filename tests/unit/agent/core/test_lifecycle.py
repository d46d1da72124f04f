"""The table of lifecycle events, whose scripts they run, and which segments are refused."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import Any

import pytest

from ferryman.v1 import agents_pb2, types_pb2
from ferryman_agent.core.lifecycle import LIFECYCLE_EVENTS, Origin, Work, origin_of, refusal, work_of
from ferryman_agent.core.messages import RevisionSource
from ferryman_agent.runtime import mapping
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


@pytest.mark.req("AG-195", "AG-196", "AG-197", "AG-200", "V2-254", "CP-254", "AG-C02", "AG-H29")
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


@pytest.mark.req("AG-109", "AG-110", "AG-117", "V2-044", "AG-189", "AG-188")
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


@pytest.mark.req("AG-323", "AG-T38")
def test_a_file_exists_behavior_that_nobody_knows_is_refused_even_without_a_conflict() -> None:
    message = agents_pb2.DeploymentDescription(file_exists_behavior=types_pb2.FILE_EXISTS_BEHAVIOR_RETAIN)
    assert mapping.deployment(message, "").unknown_option == ""
    message.MergeFromString(b"\x40\x63")
    described = mapping.deployment(message, "")
    reason = refusal(a_segment(unknown_option=described.unknown_option), INSTANCE)
    assert reason is not None
    assert "file exists behavior 99" in reason


@pytest.mark.req("V2-136")
@pytest.mark.parametrize(
    "name,is_right", [("deploy/app.yml", True), ("../x", False), ("/etc/x", False), ("a/../b", False)]
)
def test_the_app_spec_file_lies_in_the_revision(name: str, is_right: bool) -> None:
    assert (refusal(a_segment(app_spec_file_name=name), INSTANCE) is None) is is_right


_STOP_TO_VALIDATE = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)
_BLOCK = ("BeforeBlockTraffic", "BlockTraffic", "AfterBlockTraffic")
_ALLOW = ("BeforeAllowTraffic", "AllowTraffic", "AfterAllowTraffic")
# AG section 7.1, column by column: what the deployment says of itself, and the events in their order.
COLUMNS = [
    pytest.param({}, _STOP_TO_VALIDATE, id="in place"),
    pytest.param({}, (*_BLOCK, *_STOP_TO_VALIDATE, *_ALLOW), id="in place, load balancer"),
    pytest.param({"deployment_creator": "codeDeployRollback"}, _STOP_TO_VALIDATE, id="rollback in place"),
    pytest.param({"deployment_type": "BLUE_GREEN"}, _BLOCK, id="blue/green, original"),
    pytest.param(
        {"deployment_type": "BLUE_GREEN"}, (*_STOP_TO_VALIDATE, *_ALLOW), id="blue/green, replacement"
    ),
    pytest.param(
        {"deployment_type": "BLUE_GREEN", "deployment_creator": "codeDeployRollback"},
        _ALLOW,
        id="rollback of blue/green, original",
    ),
    pytest.param(
        {"deployment_type": "BLUE_GREEN", "deployment_creator": "codeDeployRollback"},
        _BLOCK,
        id="rollback of blue/green, replacement",
    ),
    pytest.param({"deployment_creator": "autoscaling"}, (*_STOP_TO_VALIDATE, *_ALLOW), id="scaling, launch"),
    pytest.param(
        {"deployment_creator": "autoscalingTermination"}, (*_BLOCK, "ApplicationStop"), id="scaling, end"
    ),
]


@pytest.mark.req(
    "AG-L01", "AG-L02", "AG-L03", "AG-L04", "AG-L05", "AG-L06", "AG-L07", "AG-L08", "AG-L09", "AG-L10", "AG-L11",
    "AG-L12", "AG-L13", "AG-L14", "AG-L15", "AG-181", "AG-182", "AG-184", "AG-185", "AG-186",
)  # fmt: skip
@pytest.mark.parametrize("says,column", COLUMNS)
def test_every_column_can_be_run_in_its_order_and_no_other(
    says: dict[str, Any], column: tuple[str, ...]
) -> None:
    """The coordinator cuts a column into segments at its own two events; Start and End are nothing to run."""
    segments = [
        tuple(run)
        for is_ours, run in groupby(column, lambda name: work_of(name) is not Work.NOT_OURS)
        if is_ours
    ]
    assert [name for name in column if work_of(name) is Work.NOT_OURS] == [
        name for name in ("BlockTraffic", "AllowTraffic") if name in column
    ]
    for events in segments:
        assert refusal(a_segment(events=events, **says), INSTANCE) is None
        for first, second in pairwise(events):
            assert refusal(a_segment(events=(second, first), **says), INSTANCE) is not None
    for name in ("Start", "End", "BlockTraffic", "AllowTraffic"):
        assert refusal(a_segment(events=(name,), **says), INSTANCE) is not None
