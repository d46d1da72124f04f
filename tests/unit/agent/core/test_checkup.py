"""What doctor makes of facts: each fault is named, with what to do, and nothing else is called one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferryman_agent.core.checkup import (
    DirectoryFacts,
    DiskFacts,
    Finding,
    Hurdle,
    IdentityFacts,
    MachineFacts,
    ReachFacts,
    ToolFacts,
    Verdict,
    findings,
)

NOW = 1_800_000_000_000
DAY = 86_400_000
WELL = MachineFacts(
    now=NOW,
    config="/etc/f.yml",
    identity=IdentityFacts(
        name="web-1", instance_id="i-1", address="c:1", issued_at=NOW - DAY, expires_at=NOW + 9 * DAY
    ),
    reach=ReachFacts(address="c:1", tls_version="TLSv1.3"),
    clock_skew_ms=12,
    is_running=True,
    runs_as_user="root",
    directories=(DirectoryFacts(setting="state_dir", path="/s", mode=0o700, widest_mode=0o700),),
    disks=(
        DiskFacts(
            path="/", free_bytes=1 << 40, wanted_bytes=100 << 20, inodes_free=10**6, inodes_total=10**7
        ),
    ),
    tools=(ToolFacts(name="semanage", is_there=False, is_wanted=False, purpose="x"),),
)


def bad(facts: MachineFacts) -> list[Finding]:
    return [each for each in findings(facts) if each.verdict is not Verdict.OK]


def one(facts: MachineFacts) -> tuple[str, Verdict, str, str]:
    (found,) = bad(facts)
    return found.check, found.verdict, found.message, found.fix


@pytest.mark.req("AG-543")
def test_a_machine_that_is_well_has_a_line_for_each_subject_and_no_fix() -> None:
    found = findings(WELL)
    assert bad(WELL) == []
    assert {each.check for each in found} == {
        "configuration", "directories", "disk", "clock", "identity", "certificate", "coordinator", "tls", "agent",
        "tools",
    }  # fmt: skip
    assert all(not each.fix for each in found)


@pytest.mark.req("AG-543", "K24")
@pytest.mark.parametrize(
    "change,check,verdict,part,fix",
    [
        ({"config_problem": "f:1: x: is wrong"}, "configuration", "fail", "f:1: x", "correct"),
        ({"config_warnings": ("f:2: y: is unknown",)}, "configuration", "warn", "f:2: y", "correct"),
        ({"identity_file_problem": "it has both"}, "identity file", "fail", "both", "correct"),
        ({"is_running": False}, "agent", "warn", "is not running", "ferryman-agent start"),
        ({"is_running": None}, "agent", "warn", "cannot tell", "as root"),
        ({"reach": None}, "coordinator", "warn", "no address", "enroll"),
        ({"clock_skew_ms": 61_000}, "clock", "warn", "61 s ahead", "chrony"),
        ({"clock_skew_ms": -301_000}, "clock", "fail", "301 s behind", "chrony"),
    ],
)
def test_a_fault_of_the_whole(
    change: dict[str, object], check: str, verdict: str, part: str, fix: str
) -> None:
    found = one(replace(WELL, **change))  # type: ignore[arg-type] # a test's shorthand
    assert found[:2] == (check, Verdict(verdict))
    assert part in found[2]
    assert fix in found[3]


@pytest.mark.req("AG-543", "AG-S10", "AG-S01")
@pytest.mark.parametrize(
    "hurdle,check,fix",
    [
        (Hurdle.NAME, "coordinator", "resolv.conf"),
        (Hurdle.PROXY, "coordinator", "proxy.no_proxy"),
        (Hurdle.CONNECTION, "coordinator", "firewalls"),
        (Hurdle.TRUST, "tls", "enroll --force"),
        (Hurdle.IDENTITY, "tls", "ferryman instance show"),
    ],
)
def test_what_stands_between_agent_and_coordinator(hurdle: Hurdle, check: str, fix: str) -> None:
    found = one(replace(WELL, reach=ReachFacts(address="c:1", hurdle=hurdle, detail="so it is")))
    assert found[:2] == (check, Verdict.FAIL)
    assert "c:1" in found[2]
    assert "so it is" in found[2]
    assert fix in found[3]


@pytest.mark.req("AG-543", "AG-090")
def test_identity_and_certificate() -> None:
    missing = one(replace(WELL, identity=IdentityFacts(problem="this agent is not enrolled")))
    assert missing[:2] == ("identity", Verdict.FAIL)
    assert "ferryman token create --join" in missing[3]
    known = WELL.identity
    expired = one(replace(WELL, identity=replace(known, expires_at=NOW)))
    assert expired[:2] == ("certificate", Verdict.FAIL)
    assert "enroll again" in expired[3]
    late = one(replace(WELL, identity=replace(known, expires_at=NOW + DAY // 6)))
    assert late[:2] == ("certificate", Verdict.WARN)
    early = one(replace(WELL, clock_skew_ms=None, identity=replace(known, issued_at=NOW + DAY)))
    assert early[:2] == ("clock", Verdict.FAIL)


@pytest.mark.req("AG-543")
@pytest.mark.parametrize(
    "change,verdict,fix",
    [
        ({"problem": "is no directory"}, "fail", "set state_dir"),
        ({"is_writable": False}, "fail", "chown root /s"),
        ({"remark": "others can put something in its place"}, "warn", "away from others"),
        ({"mode": 0o755}, "warn", "chmod 0700 /s"),
    ],
)
def test_a_directory_that_is_not_as_it_should_be(change: dict[str, object], verdict: str, fix: str) -> None:
    directory = replace(WELL.directories[0], **change)  # type: ignore[arg-type] # a test's shorthand
    found = one(replace(WELL, directories=(directory,)))
    assert found[:2] == ("directories", Verdict(verdict))
    assert fix in found[3]
    absent = replace(WELL.directories[0], mode=None)
    assert bad(replace(WELL, directories=(absent,))) == []


@pytest.mark.req("AG-543", "AG-S25")
@pytest.mark.parametrize(
    "change,verdict,part",
    [
        ({"free_bytes": 99 << 20}, "fail", "99 MiB free"),
        ({"free_bytes": 399 << 20}, "warn", "399 MiB free"),
        ({"inodes_free": 9}, "fail", "9 files"),
        ({"is_read_only": True}, "fail", "read-only"),
    ],
)
def test_a_disk_that_has_no_room(change: dict[str, object], verdict: str, part: str) -> None:
    found = one(replace(WELL, disks=(replace(WELL.disks[0], **change),)))  # type: ignore[arg-type] # a test's shorthand
    assert found[:2] == ("disk", Verdict(verdict))
    assert part in found[2]
    assert found[3]


@pytest.mark.req("AG-543")
def test_tools_and_the_proxy_of_downloads() -> None:
    tool = ToolFacts(name="semanage", is_there=False, is_wanted=True, purpose="contexts cannot be set")
    found = one(replace(WELL, tools=(tool,)))
    assert found[:2] == ("tools", Verdict.WARN)
    assert "contexts cannot be set" in found[2]
    proxy = ReachFacts(address="", proxy="http://p:1", hurdle=Hurdle.PROXY, detail="Connection refused")
    found = one(replace(WELL, downloads_proxy=proxy))
    assert found[:2] == ("proxy", Verdict.FAIL)
    assert "http://p:1" in found[2]
