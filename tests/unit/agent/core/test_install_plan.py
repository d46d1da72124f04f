"""Install plans: what becomes of each path, and every reason to refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ferryman.appspec import AppSpec, EntryKind, FileMapping, Permission, SelinuxContext
from ferryman_agent.core.contexts import SelinuxHost
from ferryman_agent.core.install_facts import (
    Action,
    ArchiveFact,
    HostFact,
    InstallPlan,
    PlanRefused,
    Situation,
    User,
)
from ferryman_agent.core.install_plan import (
    make_plan,
    merge_carried,
    paths_to_look_at,
    wanted_targets,
)
from ferryman_agent.core.messages import FileExistsBehavior

FILE, DIRECTORY, LINK, SPECIAL = EntryKind.FILE, EntryKind.DIRECTORY, EntryKind.LINK, EntryKind.SPECIAL
ROOT_DIRECTORY = HostFact(DIRECTORY, mode=0o755)
TEXT = ArchiveFact(FILE, 10, 0o640, 0, 0, 5)
FOLDER = ArchiveFact(DIRECTORY, 0, 0o750, 0, 0, 5)


def situation(*mappings: tuple[str, str], **given: Any) -> Situation:
    appspec = given.pop("appspec", AppSpec(files=tuple(FileMapping(*one) for one in mappings)))
    archive = {"": FOLDER, **given.pop("archive", {"a": TEXT})}
    targets, findings = wanted_targets(appspec, archive)
    defaults: dict[str, Any] = {
        "behavior": FileExistsBehavior.DISALLOW,
        "host": {"/": ROOT_DIRECTORY, "/srv": ROOT_DIRECTORY},
        "user": User(0, frozenset({0})),
    }
    return Situation(
        appspec=appspec, archive=archive, targets=targets, findings=findings, **{**defaults, **given}
    )


def plan(*mappings: tuple[str, str], **given: Any) -> InstallPlan:
    made = make_plan(situation(*mappings, **given))
    assert isinstance(made, InstallPlan), made
    return made


def refusal(*mappings: tuple[str, str], **given: Any) -> PlanRefused:
    made = make_plan(situation(*mappings, **given))
    assert isinstance(made, PlanRefused)
    return made


def host(**extra: HostFact) -> dict[str, HostFact]:
    """`srv_app` stands for /srv/app."""
    return {"/": ROOT_DIRECTORY, "/srv": ROOT_DIRECTORY} | {
        "/" + name.replace("_", "/"): fact for name, fact in extra.items()
    }


@pytest.mark.req("AG-303", "AG-T32", "V2-194", "AG-309")
def test_missing_parents_are_made_outermost_first() -> None:
    made = plan(("a", "/srv/x/y/z"))
    assert [one.path for one in made.directories] == ["/srv/x", "/srv/x/y", "/srv/x/y/z"]
    assert {one.attributes.mode for one in made.directories} == {0o755}
    assert made.journal == ("/srv/x", "/srv/x/y", "/srv/x/y/z", "/srv/x/y/z/a")
    assert [one.action for one in made.files] == [Action.WRITE]


@pytest.mark.req("AG-304", "AG-322")
def test_existing_directories_are_used_and_not_journaled() -> None:
    made = plan(("a", "/srv"))
    assert made.directories == ()
    assert made.journal == ("/srv/a",)


@pytest.mark.req("AG-309", "AG-C12", "AG-308")
def test_a_directory_of_the_source_keeps_its_mode_and_its_ancestors_do_not() -> None:
    archive = {"d": FOLDER, "d/a": TEXT}
    made = plan(("d", "/srv/x/y"), archive=archive)
    assert [(one.path, one.attributes.mode) for one in made.directories] == [
        ("/srv/x", 0o755),
        ("/srv/x/y", 0o750),
    ]
    assert (made.files[0].attributes.mode, made.files[0].modified_ns) == (0o640, 5)
    plain = plan(("d", "/srv/x/y"), archive=archive, preserve_directory_modes=False)
    assert {one.attributes.mode for one in plain.directories} == {0o755}
    late = plan(("d/a", "/srv/x/y"), ("d", "/srv/x"), archive={**archive, "d/b": TEXT})
    assert [(one.path, one.attributes.mode) for one in late.directories] == [
        ("/srv/x", 0o750),
        ("/srv/x/y", 0o755),
    ]


@pytest.mark.req("AG-156", "AG-292", "AG-C09", "V2-210")
def test_the_plan_reads_like_the_specifications_sample() -> None:
    appspec = AppSpec(
        files=(FileMapping("conf/app.ini", "/srv/app/conf"), FileMapping("bin", "/srv/app/bin")),
        permissions=(
            Permission(object="/srv/app/bin", owner="svc", mode=0o750, types=frozenset({FILE}), number=1),
        ),
    )
    archive = {"conf": FOLDER, "conf/app.ini": TEXT, "bin": FOLDER, "bin/run": TEXT}
    made = plan(appspec=appspec, archive=archive, users={"svc": 77})
    assert made.journal == (
        "/srv/app",
        "/srv/app/conf",
        "/srv/app/conf/app.ini",
        "/srv/app/bin",
        "/srv/app/bin/run",
    )
    assert [tuple(row.values())[:2] for row in made.instructions] == [
        ("mkdir", "/srv/app"),
        ("mkdir", "/srv/app/conf"),
        ("copy", "conf/app.ini"),
        ("mkdir", "/srv/app/bin"),
        ("copy", "bin/run"),
        ("chown", "svc"),
        ("chmod", "0750"),
    ]
    run = made.files[1]
    assert (run.attributes.uid, run.attributes.mode) == (77, 0o750)


# What is in the way


@pytest.mark.req("AG-319", "AG-321", "AG-286", "V2-196")
def test_what_the_group_installed_before_is_never_in_the_way() -> None:
    made = plan(("a", "/srv"), host=host(srv_a=HostFact(FILE)), journal=("/srv/a",))
    assert [one.action for one in made.files] == [Action.REPLACE]
    assert made.obsolete == ()


@pytest.mark.req("AG-319", "V2-196", "AG-T40")
@pytest.mark.parametrize(
    "fact",
    [
        HostFact(FILE),
        HostFact(DIRECTORY),
        HostFact(LINK, target="/etc/hostname"),
        HostFact(LINK, target="gone"),
        HostFact(SPECIAL),
    ],
)
def test_disallow_refuses_whatever_is_there(fact: HostFact) -> None:
    refused = refusal(("a", "/srv"), host=host(srv_a=fact))
    assert [conflict.path for conflict in refused.conflicts] == ["/srv/a"]


@pytest.mark.req("AG-324")
def test_all_conflicts_are_found_not_the_first() -> None:
    archive = {"d": FOLDER, "d/a": TEXT, "d/b": TEXT, "d/c": TEXT}
    refused = refusal(("d", "/srv"), archive=archive, host=host(srv_a=HostFact(FILE), srv_c=HostFact(FILE)))
    assert [conflict.path for conflict in refused.conflicts] == ["/srv/a", "/srv/c"]


@pytest.mark.req("AG-167", "V2-196", "AG-T39", "AG-312")
@pytest.mark.parametrize("fact", [HostFact(FILE), HostFact(LINK, target="x"), HostFact(LINK, real="/etc")])
def test_overwrite_replaces_files_and_links_and_journals_them(fact: HostFact) -> None:
    made = plan(("a", "/srv"), host=host(srv_a=fact), behavior=FileExistsBehavior.OVERWRITE)
    assert [one.action for one in made.files] == [Action.REPLACE]
    assert made.journal == ("/srv/a",)


@pytest.mark.req("AG-320", "AG-X16")
@pytest.mark.parametrize("fact", [HostFact(DIRECTORY), HostFact(SPECIAL)])
def test_overwrite_never_replaces_a_directory_or_device(fact: HostFact) -> None:
    assert refusal(("a", "/srv"), host=host(srv_a=fact), behavior=FileExistsBehavior.OVERWRITE).conflicts


@pytest.mark.req("AG-166", "AG-C07", "V2-196")
@pytest.mark.parametrize("fact", [HostFact(FILE), HostFact(DIRECTORY), HostFact(LINK), HostFact(SPECIAL)])
def test_retain_keeps_what_is_there_and_does_not_journal_it(fact: HostFact) -> None:
    made = plan(("a", "/srv"), host=host(srv_a=fact), behavior=FileExistsBehavior.RETAIN)
    assert made.files == ()
    assert made.journal == ()
    assert made.retained == ("/srv/a",)


@pytest.mark.req("AG-281", "AG-T37", "V2-159")
def test_the_appspec_has_the_last_word() -> None:
    appspec = AppSpec(files=(FileMapping("a", "/srv"),), file_exists_behavior="RETAIN")
    made = plan(appspec=appspec, host=host(srv_a=HostFact(FILE)), behavior=FileExistsBehavior.OVERWRITE)
    assert made.retained == ("/srv/a",)


@pytest.mark.req("AG-307", "V2-200", "AG-T42")
@pytest.mark.parametrize("fact", [HostFact(FILE), HostFact(LINK, target="gone"), HostFact(SPECIAL)])
@pytest.mark.parametrize("behavior", list(FileExistsBehavior))
def test_a_file_where_a_parent_is_needed(fact: HostFact, behavior: FileExistsBehavior) -> None:
    refused = refusal(("a", "/srv/app/deep"), host=host(srv_app=fact), behavior=behavior)
    assert [(f.code, "/srv/app must" in f.message) for f in refused.findings] == [
        ("FILES_PARENT_NOT_DIRECTORY", True)
    ]


def test_a_link_to_a_directory_is_followed_once_when_somebody_else_made_it() -> None:
    made = plan(("a", "/srv/www/x"), host=host(srv_www=HostFact(LINK, target="/data", real="/data")))
    assert made.journal == ("/srv/www/x", "/srv/www/x/a")
    assert [one.place for one in made.directories] == ["/data/x"]
    assert [one.place for one in made.files] == ["/data/x/a"]


@pytest.mark.req("AG-338")
def test_the_agents_own_directory_is_no_destination() -> None:
    refused = refusal(("a", "/srv/agent/x"), agent_root=("/srv/agent", "/data/agent"))
    assert [finding.code for finding in refused.findings] == ["FILES_DESTINATION_IN_ROOT"]
    assert plan(("a", "/srv/agent-2"), agent_root=("/srv/agent",)).journal


# Changes of kind


@pytest.mark.req("AG-335")
def test_our_file_becomes_a_directory() -> None:
    made = plan(("a", "/srv/app"), host=host(srv_app=HostFact(FILE)), journal=("/srv/app",))
    assert made.aside == ("/srv/app",)
    assert [one.exists for one in made.directories] == [False]
    assert made.obsolete == ()


@pytest.mark.req("AG-335")
def test_our_directory_becomes_a_file_unless_others_use_it() -> None:
    facts = host(srv_a=HostFact(DIRECTORY), srv_a_x=HostFact(FILE))
    journal = ("/srv/a", "/srv/a/x")
    made = plan(("a", "/srv"), host=facts, journal=journal, inside={"/srv/a": ("/srv/a/x",)})
    assert made.aside == ("/srv/a",)
    assert made.obsolete == (("/srv/a/x", "/srv/a/x"),)
    refused = refusal(
        ("a", "/srv"), host=facts, journal=journal, inside={"/srv/a": ("/srv/a/x", "/srv/a/foreign")}
    )
    assert "/srv/a/foreign" in refused.conflicts[0].what


# What is right already


@pytest.mark.req("AG-308")
def test_unchanged_files_are_kept_or_only_corrected() -> None:
    right = HostFact(FILE, 10, 0o640, 0, 0, 5)
    given: dict[str, Any] = {"journal": ("/srv/a",), "unchanged": frozenset({"/srv/a"})}
    assert plan(("a", "/srv"), host=host(srv_a=right), **given).files[0].action is Action.KEEP
    for other in (right._replace(mode=0o600), right._replace(uid=9), right._replace(modified_ns=6)):
        assert plan(("a", "/srv"), host=host(srv_a=other), **given).files[0].action is Action.CORRECT
    normal_user = plan(
        ("a", "/srv"), host=host(srv_a=right._replace(uid=9)), user=User(9, frozenset({9})), **given
    )
    assert normal_user.files[0].action is Action.KEEP


@pytest.mark.req("AG-310", "AG-313", "V2-198")
def test_links_are_kept_when_they_say_the_same() -> None:
    archive = {"l": ArchiveFact(LINK, 0, 0o777, 0, 0, 5, "to")}
    for target, action in (("to", Action.KEEP), ("other", Action.REPLACE)):
        made = plan(
            ("l", "/srv"),
            archive=archive,
            host=host(srv_l=HostFact(LINK, target=target)),
            journal=("/srv/l",),
        )
        assert made.files[0].action is action
        assert made.files[0].target == "to"


# What is no longer wanted


@pytest.mark.req("AG-327", "AG-330", "AG-331", "AG-T25", "AG-T32")
def test_without_files_everything_goes_in_reverse_order() -> None:
    journal = ("/srv/app", "/srv/app/gone", "/srv/app/x")
    facts = host(srv_app=HostFact(DIRECTORY), srv_app_x=HostFact(FILE))
    made = plan(host=facts, journal=journal)
    assert made.obsolete == (("/srv/app/x", "/srv/app/x"), ("/srv/app", "/srv/app"))
    assert made.journal == ()


@pytest.mark.req("AG-338")
def test_system_directories_and_the_agents_own_are_never_removed() -> None:
    facts = dict.fromkeys(("/", "/usr", "/usr/bin", "/srv", "/srv/agent", "/srv/agent/x"), ROOT_DIRECTORY)
    made = plan(host=facts, journal=tuple(facts), agent_root=("/srv/agent",))
    assert made.obsolete == ()
    assert any("/usr/bin" in warning for warning in made.warnings)
    assert any("/srv/agent/x" in warning for warning in made.warnings)


@pytest.mark.req("AG-332", "V2-187")
def test_nothing_is_removed_through_a_link_in_the_place_of_our_directory() -> None:
    facts = host(srv_app=HostFact(LINK, target="/etc", real="/etc"), srv_app_passwd=HostFact(FILE))
    made = plan(host=facts, journal=("/srv/app", "/srv/app/passwd"))
    assert made.obsolete == (("/srv/app", "/srv/app"),)


def test_what_lies_below_an_administrators_link_is_removed_where_it_really_is() -> None:
    facts = host(srv_www=HostFact(LINK, target="/data", real="/data"), srv_www_a=HostFact(FILE))
    assert plan(host=facts, journal=("/srv/www/a",)).obsolete == (("/srv/www/a", "/data/a"),)


@pytest.mark.req("AG-168")
@pytest.mark.parametrize(
    "made, carried, merged",
    [
        (("/a", "/a/b"), (), ("/a", "/a/b")),
        (("/a",), ("/b", "/b/c"), ("/b", "/b/c", "/a")),
        (("/a", "/a/x"), ("/a/old",), ("/a", "/a/x", "/a/old")),
        (("/a",), ("/a",), ("/a",)),
    ],
)
def test_carried_directories_stand_where_they_are_undone_in_time(
    made: tuple[str, ...], carried: tuple[str, ...], merged: tuple[str, ...]
) -> None:
    assert merge_carried(made, carried) == merged


# Permissions


def with_permission(permission: Permission, **given: Any) -> Situation:
    return situation(
        appspec=AppSpec(files=(FileMapping("a", "/srv/app"),), permissions=(permission,)), **given
    )


@pytest.mark.req("AG-V43", "AG-T54", "V2-217")
@pytest.mark.parametrize(
    "permission",
    [
        Permission(object="/srv/app", owner="nobody-here", number=1),
        Permission(object="/other", group="none", number=1),
    ],
)
def test_unknown_accounts_refuse_the_plan(permission: Permission) -> None:
    made = make_plan(with_permission(permission))
    assert isinstance(made, PlanRefused)
    assert [finding.code for finding in made.findings] == ["PERM_OWNER_UNKNOWN"]


@pytest.mark.req("AG-352", "AG-353", "V2-218")
def test_owner_group_and_mode_are_independent() -> None:
    for permission, expected in (
        (Permission(object="/srv/app", owner="u", number=1), (0o640, 7, 0)),
        (Permission(object="/srv/app", group="g", number=1), (0o640, 0, 8)),
        (Permission(object="/srv/app", mode=0o444, number=1), (0o444, 0, 0)),
    ):
        made = make_plan(with_permission(permission, users={"u": 7}, groups={"g": 8}))
        assert isinstance(made, InstallPlan)
        attributes = made.files[0].attributes
        assert (attributes.mode, attributes.uid, attributes.gid) == expected


@pytest.mark.req("V2-216", "AG-354")
def test_set_id_modes_are_refused_unless_allowed() -> None:
    permission = Permission(object="/srv/app", mode=0o4755, number=1)
    refused = make_plan(with_permission(permission))
    assert isinstance(refused, PlanRefused)
    assert [(f.code, "4755" in f.message) for f in refused.findings] == [("PERM_MODE_SET_ID", True)]
    allowed = make_plan(with_permission(permission, allow_set_id=True))
    assert isinstance(allowed, InstallPlan)
    assert allowed.files[0].attributes.mode == 0o4755


def test_only_root_gives_files_away() -> None:
    permission = Permission(object="/srv/app", owner="u", number=1)
    me, other = User(7, frozenset({7})), User(8, frozenset({8}))
    assert isinstance(make_plan(with_permission(permission, users={"u": 7}, user=me)), InstallPlan)
    refused = make_plan(with_permission(permission, users={"u": 7}, user=other))
    assert isinstance(refused, PlanRefused)
    assert [finding.code for finding in refused.findings] == ["PERM_OWNER_NOT_PERMITTED"]


def context(kind: str = "httpd_t") -> Permission:
    return Permission(object="/srv/app", context=SelinuxContext(type=kind), number=1)


@pytest.mark.req("AG-366", "AG-T55")
def test_a_context_is_a_warning_without_selinux_unless_it_is_required() -> None:
    made = make_plan(with_permission(context()))
    assert isinstance(made, InstallPlan)
    assert any("SELinux" in warning for warning in made.warnings)
    refused = make_plan(with_permission(context(), require_selinux=True))
    assert isinstance(refused, PlanRefused)
    assert refused.findings[0].code == "PERM_CONTEXT_UNSUPPORTED"


@pytest.mark.req("V2-222")
def test_a_missing_tool_is_found_while_planning() -> None:
    refused = make_plan(with_permission(context(), selinux=SelinuxHost(semanage="")))
    assert isinstance(refused, PlanRefused)
    assert refused.findings[0].code == "PERM_CONTEXT_TOOL_MISSING"
    assert "semanage" in refused.findings[0].message


@pytest.mark.req("V2-380", "V2-167")
@pytest.mark.parametrize("kind", ["unconfined_t", "kernel_t", "init_t"])
def test_types_that_confine_nothing_are_refused_unless_allowed(kind: str) -> None:
    host = SelinuxHost(semanage="/sbin/semanage")
    refused = make_plan(with_permission(context(kind), selinux=host))
    assert isinstance(refused, PlanRefused)
    assert refused.findings[0].code == "PERM_CONTEXT_UNCONFINED"
    made = make_plan(with_permission(context(kind), selinux=host, reject_unconfined=False))
    assert isinstance(made, InstallPlan)
    assert made.labels == {"/srv/app/a": f"system_u:object_r:{kind}:s0"}


@pytest.mark.req("AG-341", "AG-355")
def test_retained_files_and_the_modes_of_links_are_left_alone() -> None:
    appspec = AppSpec(
        files=(FileMapping("/", "/srv/app"),),
        permissions=(Permission(object="/srv/app", mode=0o444, owner="u", number=1),),
    )
    archive = {"a": TEXT, "l": ArchiveFact(LINK, 0, 0o777, 0, 0, 5, "to")}
    facts = host(srv_app=HostFact(DIRECTORY), srv_app_a=HostFact(FILE))
    made = plan(
        appspec=appspec, archive=archive, host=facts, users={"u": 7}, behavior=FileExistsBehavior.RETAIN
    )
    (link,) = made.files
    assert (link.attributes.mode, link.attributes.uid) == (None, 7)
    assert any("symbolic links" in warning for warning in made.warnings)


@pytest.mark.req("AG-V42", "V2-213", "AG-X26")
def test_an_entry_without_effect_is_a_warning() -> None:
    made = make_plan(with_permission(Permission(object="/nowhere", mode=0o600, number=1)))
    assert isinstance(made, InstallPlan)
    assert any("/nowhere" in warning for warning in made.warnings)


def test_everything_the_plan_needs_is_looked_at() -> None:
    given = situation(("a", "/srv/x"))
    appspec = replace(given.appspec, permissions=(Permission(object="/opt/y"),))
    paths = list(paths_to_look_at(appspec, given.targets, ("/var/lib/z",)))
    assert set(paths) == {"/srv", "/srv/x", "/srv/x/a", "/opt", "/opt/y", "/var", "/var/lib", "/var/lib/z"}
    assert paths.index("/srv") < paths.index("/srv/x") < paths.index("/srv/x/a")
