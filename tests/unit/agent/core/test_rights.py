"""What only root may do: listed whole, while the plan is made."""

from __future__ import annotations

import pytest

from ferryman.appspec import AppSpec, EntryKind, FileMapping, Findings, Permission, Script
from ferryman_agent.core.install_facts import (
    Action,
    ArchiveFact,
    HostFact,
    InstallPlan,
    PlanRefused,
    Situation,
    User,
)
from ferryman_agent.core.install_plan import make_plan, wanted_targets
from ferryman_agent.core.messages import FileExistsBehavior
from ferryman_agent.core.rights import BEYOND, CLOSED, OWNER, RUNAS, SUDO, beyond

ME = User(7, frozenset({7}))
OURS = HostFact(EntryKind.DIRECTORY, mode=0o755, uid=7)
TEXT = ArchiveFact(EntryKind.FILE, 10, 0o640, 0, 0, 5)


def situation(appspec: AppSpec, host: dict[str, HostFact], *closed: str, **given: object) -> Situation:
    archive = {"a": TEXT}
    targets, findings = wanted_targets(appspec, archive)
    defaults: dict[str, object] = {"behavior": FileExistsBehavior.OVERWRITE, "user": ME, **given}
    return Situation(
        appspec=appspec,
        archive=archive,
        targets=targets,
        findings=findings,
        host={"/": OURS, **host},
        closed=frozenset(closed),
        **defaults,  # type: ignore[arg-type]  # as each test has it
    )


def to(*destinations: str, **more: object) -> AppSpec:
    return AppSpec(files=tuple(FileMapping("a", one) for one in destinations), **more)  # type: ignore[arg-type]


def codes(made: InstallPlan | PlanRefused) -> list[str]:
    assert isinstance(made, PlanRefused)
    return [finding.code for finding in made.findings]


@pytest.mark.req("AG-015")
def test_scripts_owners_and_destinations_are_refused_together() -> None:
    appspec = to(
        "/srv",
        "/etc",
        permissions=(Permission(object="/srv/a", owner="root", number=1),),
        hooks={
            "AfterInstall": (
                Script(location="x", runas="root"),
                Script(location="y", runas="me"),
                Script(location="z", runas="nobody-there"),
            ),
            "ApplicationStart": (
                Script(location="s", sudo=True),
                Script(location="t", sudo=True, runas="me"),
            ),
        },
    )
    host = {"/srv": OURS, "/etc": HostFact(EntryKind.DIRECTORY)}
    given = situation(appspec, host, "/etc", users={"root": 0, "me": 7})
    assert sorted(codes(make_plan(given))) == sorted([RUNAS, RUNAS, SUDO, OWNER, CLOSED])


@pytest.mark.req("AG-015")
def test_root_may_do_all_of_it() -> None:
    appspec = to(
        "/srv",
        hooks={"AfterInstall": (Script(location="x", runas="daemon"), Script(location="y", sudo=True))},
    )
    given = situation(appspec, {"/srv": OURS}, user=User(0, frozenset()), users={"daemon": 1})
    assert isinstance(make_plan(given), InstallPlan)


@pytest.mark.req("AG-015")
def test_what_counts_is_the_directory_that_changes() -> None:
    # In /etc is made what /etc/x/y needs; nothing is made in /srv, where the file is right already.
    kept = HostFact(EntryKind.FILE, 10, 0o640, 7, 7, 5)
    host = {"/etc": OURS, "/srv": OURS, "/srv/a": kept}
    given = situation(
        to("/etc/x/y", "/srv"), host, "/etc", "/srv", journal=("/srv/a",), unchanged=frozenset({"/srv/a"})
    )
    refused = make_plan(given)
    assert codes(refused) == [CLOSED]
    assert isinstance(refused, PlanRefused)
    assert "/etc: /etc/x and 2 more" not in refused.findings[0].message
    assert refused.findings[0].message.endswith("cannot write in /etc: /etc/x")


@pytest.mark.req("AG-015")
def test_what_must_go_counts_as_well() -> None:
    old = HostFact(EntryKind.FILE, 3)
    host = {"/srv": OURS, "/etc": OURS, "/etc/old": old}
    assert codes(make_plan(situation(to("/srv"), host, "/etc", journal=("/etc/old",)))) == [CLOSED]


@pytest.mark.req("AG-015")
@pytest.mark.parametrize(
    "folder, owner, is_refused", [(0, 0, True), (0, 7, False), (7, 0, False), (0, 5, True)]
)
def test_a_sticky_directory_is_closed_for_what_others_own(folder: int, owner: int, is_refused: bool) -> None:
    host = {
        "/srv": HostFact(EntryKind.DIRECTORY, mode=0o1777, uid=folder),
        "/srv/a": HostFact(EntryKind.FILE, uid=owner),
    }
    assert isinstance(make_plan(situation(to("/srv"), host)), PlanRefused) is is_refused


def test_what_somebody_else_owns_is_replaced_and_not_corrected() -> None:
    theirs = HostFact(EntryKind.FILE, 10, 0o600, 0, 0, 5)
    given = situation(
        to("/srv"),
        {"/srv": OURS, "/srv/a": theirs},
        journal=("/srv/a",),
        unchanged=frozenset({"/srv/a"}),
    )
    made = make_plan(given)
    assert isinstance(made, InstallPlan)
    assert [file.action for file in made.files] == [Action.REPLACE]


def test_only_a_destination_can_still_be_opened() -> None:
    found = Findings()
    for code in ("FILES_SOURCE_NOT_FOUND", CLOSED):
        found.error(code, Permission(object="/a").place, code)
    assert [one.code for one in beyond(found.ordered(), has_scripts_before=False)] == [CLOSED]
    assert beyond(found.ordered(), has_scripts_before=True) == ()
    found.error(RUNAS, Permission(object="/a").place, RUNAS)
    codes_found = {one.code for one in beyond(found.ordered(), has_scripts_before=True)}
    assert codes_found == {CLOSED, RUNAS} < BEYOND
