"""Statements and what they come to: nothing by default, deny wins, wildcards in names only."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core import resources
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.core.resources import EVERYTHING, NotAPattern, Pattern, parse_pattern
from ferryman_coordinator.core.rights import (
    Cause,
    Circumstances,
    Conditions,
    Effect,
    Rights,
    Scope,
    Statement,
    check_action_pattern,
    check_conditions,
)

NOW = Circumstances(source="10.1.2.3", at=Instant(1_000))
DEPLOY = "codedeploy:CreateDeployment"
PROD = resources.group("web", "prod")
DAY = 86_400_000


def allow(*actions: str, on: tuple[str, ...] = ("*",), **more: object) -> Statement:
    return Statement(effect=Effect.ALLOW, actions=actions, resources=on, **more)  # type: ignore[arg-type]  # as given


def deny(*actions: str, on: tuple[str, ...] = ("*",), **more: object) -> Statement:
    return Statement(effect=Effect.DENY, actions=actions, resources=on, **more)  # type: ignore[arg-type]  # as given


def may(rights: Rights, action: str = DEPLOY, resource: resources.Resource = PROD) -> bool:
    return rights.decide(action, resource, NOW).is_allowed


@pytest.mark.req("CP-433", "PF-230")
def test_nothing_is_allowed_by_default() -> None:
    nobody = Rights(())
    assert nobody.decide(DEPLOY, PROD, NOW).cause is Cause.NOT_ALLOWED
    assert not nobody.everywhere(DEPLOY)
    assert not nobody.somewhere(DEPLOY, NOW)


@pytest.mark.req("CP-434", "PF-232")
@pytest.mark.parametrize(
    "pattern, fits",
    [
        (DEPLOY, True),
        ("codedeploy:*", True),
        ("codedeploy:Create*", True),
        ("*", True),
        ("codedeploy:CreateDeploymentGroup", False),
        ("codedeploy:Get*", False),
        ("ferryman:*", False),
    ],
)
def test_actions_take_a_wildcard_at_their_end(pattern: str, fits: bool) -> None:
    assert may(Rights([allow(check_action_pattern(pattern))])) is fits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "**",
        "CreateDeployment",
        "codedeploy",
        "codedeploy:",
        "codedeploy:*Deployment",
        "codedeploy:Get Deployment",
        "codedeploy:" + "A" * 200,
        "code*",
        "s3:GetObject",
    ],
)
def test_what_is_no_action_is_refused(text: str) -> None:
    with pytest.raises(NotAPattern, match="action|operation"):
        check_action_pattern(text)


@pytest.mark.req("CP-434", "PF-233")
@pytest.mark.parametrize(
    "pattern, fits",
    [
        ("*", True),
        ("deploymentgroup:web/prod", True),
        ("deploymentgroup:w*/p*", True),
        ("deploymentgroup:*", True),
        ("deploymentgroup:*/prod", True),
        ("deploymentgroup:web/prod2", False),
        ("deploymentgroup:web2*/prod", False),
        ("deploymentgroup:web/p*x", False),
        ("application:web", False),
        ("arn:aws:codedeploy:eu-1:111122223333:deploymentgroup:web/*", True),
    ],
)
def test_resources_take_wildcards_in_names(pattern: str, fits: bool) -> None:
    assert may(Rights([allow(DEPLOY, on=(parse_pattern(pattern, "eu-1", "111122223333"),))])) is fits


@pytest.mark.req("CP-023", "CP-434", "PF-233", "PF-234")
@pytest.mark.parametrize(
    "text, complaint",
    [
        ("deploymentgroup/web/prod", "is no resource"),
        ("application/web", "is no resource"),
        ("instance:web-1", "is no resource"),
        ("deployment*:web", "is no resource"),
        ("application:", "is no resource"),
        ("", "is no resource"),
        ("arn:aws:codedeploy:*:111122223333:application:web", "in its region or account"),
        ("arn:aws:codedeploy:eu-1:*:application:web", "in its region or account"),
        ("arn:aws:codedeploy:us-1:111122223333:application:web", "another region"),
        ("arn:aws:s3:::bucket", "no ARN of ours"),
        ("application:" + "*a" * 17, "at most 16 times"),
        ("application:" + "a" * 2000, "at most 1024"),
        ("application:a\x1b[2J", "printable"),
    ],
)
def test_separators_are_exact_and_wildcards_are_for_names(text: str, complaint: str) -> None:
    with pytest.raises(NotAPattern, match=complaint):
        parse_pattern(text, "eu-1", "111122223333")


@pytest.mark.req("CP-024")
def test_both_spellings_of_a_configuration_are_the_same() -> None:
    action = "codedeploy:GetDeploymentConfig"
    for spelling in ("deploymentconfig/Slow*", "deploymentconfig:Slow*"):
        rights = Rights([allow(action, on=(parse_pattern(spelling, "local", "0"),))])
        for text in ("deploymentconfig:Slow1", "deploymentconfig/Slow1"):
            assert may(rights, action, resources.parse_resource(text, "local", "0"))
        assert not may(rights, action, resources.config("Fast"))


@pytest.mark.req("PF-231")
def test_an_explicit_deny_wins_whatever_allows() -> None:
    rights = Rights([allow("*"), deny("codedeploy:Create*", on=("deploymentgroup:*/prod",), origin="freeze")])
    verdict = rights.decide(DEPLOY, PROD, NOW)
    assert (verdict.cause, verdict.origin) == (Cause.DENIED, "freeze")
    assert may(rights, DEPLOY, resources.group("web", "test"))
    assert not rights.everywhere(DEPLOY)
    assert rights.everywhere("codedeploy:StopDeployment")


def test_what_is_denied_by_its_name_is_denied_by_its_id() -> None:
    rights = Rights([allow("*"), deny("*", on=("instance/prod-*",))])
    assert not may(rights, "codedeploy:GetOnPremisesInstance", resources.instance("mi-0123", "prod-1"))
    assert may(rights, "codedeploy:GetOnPremisesInstance", resources.instance("mi-0123", "test-1"))


def test_a_grant_narrows_what_its_role_says() -> None:
    narrowed = allow("*", on=("deploymentgroup:web/*",), within=("deploymentgroup:*/prod",))
    rights = Rights([narrowed])
    assert may(rights)
    assert not may(rights, DEPLOY, resources.group("web", "test"))
    assert not may(rights, DEPLOY, resources.group("shop", "prod"))
    assert not rights.everywhere(DEPLOY)
    assert rights.somewhere(DEPLOY, NOW)


def test_all_of_a_kind_is_covered_only_by_a_pattern_that_leaves_nothing_out() -> None:
    every = resources.every(resources.INSTANCE)
    for pattern, covers in (("*", True), ("instance/*", True), ("instance/w*", False), ("instance/w", False)):
        assert may(Rights([allow("*", on=(pattern,))]), "ferryman:CreateJoinToken", every) is covers


@pytest.mark.req("PF-231")
@pytest.mark.parametrize(
    "denied, resource, is_allowed",
    [
        ("deploymentgroup:shop/prod", resources.every(resources.GROUP), False),
        ("deploymentgroup:shop/*", resources.every(resources.GROUP), False),
        ("deploymentgroup:*/prod", resources.every(resources.GROUP), False),
        ("deploymentgroup:*/prod", resources.group("web", "*"), False),
        ("deploymentgroup:w*/prod", resources.group("web", "*"), False),
        ("deploymentgroup:shop/*", resources.group("web", "*"), True),
        ("deploymentgroup:shop/prod", resources.group("web", "*"), True),
        ("instance/db-*", resources.every(resources.GROUP), True),
        ("instance/db-*", resources.every(resources.INSTANCE), False),
        ("user/root", resources.user("*"), False),
    ],
)
def test_all_of_a_kind_is_not_allowed_where_one_of_them_is_denied(
    denied: str, resource: resources.Resource, is_allowed: bool
) -> None:
    assert may(Rights([allow("*"), deny("*", on=(denied,))]), DEPLOY, resource) is is_allowed
    if EVERYTHING not in denied:
        return
    # The same where the role forbids everything, and the grant says on what.
    assert may(Rights([allow("*"), deny("*", within=(denied,))]), DEPLOY, resource) is is_allowed


@pytest.mark.parametrize(
    "statements, is_allowed",
    [
        ([allow("*", on=("deploymentgroup:web/prod",))], True),
        ([allow("*", on=("deploymentgroup:*/prod",))], True),
        ([allow("*", on=("deploymentgroup:shop/*", "application:web"))], False),
        ([allow("*", on=("*",))], True),
        ([allow("*", on=("*",)), deny("*", on=("deploymentgroup:web/*",))], False),
        ([allow("*", on=("*",)), deny("*", on=("deploymentgroup:web/prod",))], True),
    ],
)
def test_a_list_is_for_whoever_may_see_something_of_it(statements: list[Statement], is_allowed: bool) -> None:
    assert Rights(statements).somewhere(DEPLOY, NOW, resources.group("web", "*")) is is_allowed
    scope = Scope(resources=("deploymentgroup:shop/*",))
    assert not Rights(statements, scope).somewhere(DEPLOY, NOW, resources.group("web", "*"))


def test_a_denial_that_a_grant_leaves_nothing_of_denies_nothing() -> None:
    nothing = deny("*", on=("deploymentgroup:shop/*",), within=("instance/*",))
    assert may(Rights([allow("*"), nothing]), DEPLOY, resources.every(resources.GROUP))


@pytest.mark.req("PF-231")
def test_what_has_no_resource_can_be_denied() -> None:
    assert not Rights([allow("*"), deny("ferryman:*")]).somewhere("ferryman:TestTarget", NOW)
    assert Rights([allow("*"), deny("*", on=("instance/*",))]).somewhere("ferryman:TestTarget", NOW)
    later = deny("*", conditions=Conditions(not_before=Instant(NOW.at + 1)))
    assert Rights([allow("*"), later]).somewhere("ferryman:TestTarget", NOW)


def test_the_scope_of_a_credential_limits_it() -> None:
    scope = Scope(actions=("codedeploy:Get*", DEPLOY), resources=("deploymentgroup:web/*",))
    rights = Rights([allow("*")], scope)
    assert may(rights)
    assert rights.decide(DEPLOY, resources.group("shop", "prod"), NOW).cause is Cause.OUT_OF_SCOPE
    assert rights.decide("codedeploy:StopDeployment", PROD, NOW).cause is Cause.OUT_OF_SCOPE
    assert not rights.everywhere(DEPLOY)
    assert not rights.somewhere("codedeploy:StopDeployment", NOW)
    # It gives nothing that the user does not have.
    assert not may(Rights([], scope))


@pytest.mark.req("PF-236")
@pytest.mark.parametrize(
    "conditions, now, holds",
    [
        (Conditions(sources=("10.0.0.0/8",)), NOW, True),
        (Conditions(sources=("192.168.0.0/16", "10.1.2.3/32")), NOW, True),
        (Conditions(sources=("192.168.0.0/16",)), NOW, False),
        (Conditions(sources=("10.0.0.0/8",)), Circumstances(source="", at=NOW.at), False),
        (Conditions(sources=("10.0.0.0/8",)), Circumstances(source="::ffff:10.9.9.9", at=NOW.at), True),
        (Conditions(sources=("2001:db8::/32",)), Circumstances(source="2001:db8::7", at=NOW.at), True),
        (Conditions(not_before=Instant(1_000)), NOW, True),
        (Conditions(not_before=Instant(1_001)), NOW, False),
        (Conditions(not_after=Instant(1_001)), NOW, True),
        (Conditions(not_after=Instant(1_000)), NOW, False),
        (Conditions(daily=(480, 1080)), Circumstances(source="", at=Instant(DAY + 480 * 60_000)), True),
        (Conditions(daily=(480, 1080)), Circumstances(source="", at=Instant(DAY + 1080 * 60_000)), False),
        (Conditions(daily=(1320, 360)), Circumstances(source="", at=Instant(23 * 3_600_000)), True),
        (Conditions(daily=(1320, 360)), Circumstances(source="", at=Instant(12 * 3_600_000)), False),
        (Conditions(tls=True), NOW, True),
        (Conditions(tls=True), Circumstances(source="", at=NOW.at, is_tls=False), False),
        (Conditions(tls=True, not_before=Instant(5_000)), NOW, False),
    ],
)
def test_conditions(conditions: Conditions, now: Circumstances, holds: bool) -> None:
    rights = Rights([allow("*", conditions=check_conditions(conditions))])
    # Asked twice: what depends on the moment is not remembered.
    for _ in range(2):
        assert rights.decide(DEPLOY, PROD, now).is_allowed is holds
    assert rights.somewhere(DEPLOY, now) is holds
    assert not rights.everywhere(DEPLOY)


def test_a_condition_is_asked_each_time() -> None:
    rights = Rights([allow("*", conditions=Conditions(not_after=Instant(2_000)))])
    assert may(rights)
    assert not rights.decide(DEPLOY, PROD, Circumstances(source="", at=Instant(2_000))).is_allowed


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(sources=("10.0.0.1/8",)),
        Conditions(sources=("anywhere",)),
        Conditions(daily=(60, 60)),
        Conditions(daily=(0, 1441)),
        Conditions(not_before=Instant(5), not_after=Instant(5)),
    ],
)
def test_conditions_that_make_no_sense_are_refused(conditions: Conditions) -> None:
    with pytest.raises(NotAPattern):
        check_conditions(conditions)


def test_a_hostile_pattern_costs_no_more_than_its_length() -> None:
    pattern = Pattern(["a*" * 16 + "b"])
    assert not pattern.fits("a" * 100_000)
    assert pattern.fits("a" * 100_000 + "b")
    # What stands at both ends must not overlap.
    assert not Pattern(["ab*ba"]).fits("aba")
