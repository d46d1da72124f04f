from __future__ import annotations

import pytest

from ferryman_coordinator.core import tags
from ferryman_coordinator.core.inventory import Instance, InstanceKind
from ferryman_coordinator.core.model import InstanceId, Instant
from ferryman_coordinator.core.tags import Selection, SelectionProblem, Tag, TagFilter, TagFilterType

ENVIRONMENT = (TagFilter.of("Environment", "Beta"), TagFilter.of("Environment", "Staging"))
REGION = (TagFilter.of("Region", "North"), TagFilter.of("Region", "South"), TagFilter.of("Region", "East"))
TYPE = (TagFilter.of("Type", "t2.medium"), TagFilter.of("Type", "t2.large"))


def held(**values: str) -> list[Tag]:
    return [Tag(key, value) for key, value in values.items()]


@pytest.mark.req("CP-041", "CP-042", "CP-044", "T15")
@pytest.mark.parametrize(
    "environment, region, type, is_member",
    [
        ("Beta", "North", "t2.medium", True),
        ("Staging", "East", "t2.large", True),
        ("Staging", "South", "t2.large", True),
        ("Beta", "West", "t2.medium", False),
        ("Staging", "East", "t2.micro", False),
        ("Production", "South", "t2.large", False),
    ],
)
def test_membership_table(environment: str, region: str, type: str, is_member: bool) -> None:
    """The worked table of CP section 3; a tag that no filter names changes nothing."""
    selection = Selection(tag_set=(ENVIRONMENT, REGION, TYPE))

    found = tags.matches(selection, held(Environment=environment, Region=region, Type=type, Owner="me"))

    assert found is is_member


@pytest.mark.req("CP-041", "CP-043")
def test_filters_of_one_group_are_alternatives() -> None:
    selection = Selection(tag_filters=(TagFilter.of("Role", "web"), TagFilter.of("Role", "db")))

    assert tags.matches(selection, held(Role="db"))
    assert not tags.matches(selection, held(Role="cache"))


@pytest.mark.req("CP-036", "CP-037", "CP-038", "CP-039", "CP-040", "T17")
def test_types_of_filter() -> None:
    prod = [Tag("Prod", "")]
    assert tags.matches(Selection(tag_filters=(TagFilter(type=TagFilterType.KEY_ONLY, key="Prod"),)), prod)
    assert not tags.matches(
        Selection(tag_filters=(TagFilter(type=TagFilterType.VALUE_ONLY, value="Prod"),)), prod
    )
    value_only = Selection(tag_filters=(TagFilter(type=TagFilterType.VALUE_ONLY, value="web"),))
    assert tags.matches(value_only, held(Anything="web"))
    both = Selection(tag_filters=(TagFilter(type=TagFilterType.KEY_AND_VALUE, key="Role", value="web"),))
    assert not tags.matches(both, held(Role="db", Other="web")), "key and value must be those of one tag"


@pytest.mark.req("CP-036")
@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("k", "v", TagFilterType.KEY_AND_VALUE),
        ("k", "", TagFilterType.KEY_ONLY),
        ("", "v", TagFilterType.VALUE_ONLY),
    ],
)
def test_type_follows_from_what_is_given(key: str, value: str, expected: TagFilterType) -> None:
    assert TagFilter.of(key, value).type is expected


@pytest.mark.req("CP-049", "T16", "CP-032", "A39")
@pytest.mark.parametrize(
    "pattern, text, is_match",
    [
        ("GRP-*a", "GRP-1a", True),
        ("GRP-*a", "GRP-XYZ-a", True),
        ("GRP-*a", "GRP-a", True),
        ("GRP-*a", "grp-1a", False),
        ("GRP-*a", "GRP-1b", False),
        ("*", "", True),
        ("a*a", "a", False),
        ("*mid*", "a mid b", True),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "aab", False),
        ("w?b", "web", False),
        ("*" + "a*" * 60 + "b", "a" * 250, False),
    ],
)
def test_star_in_a_value(pattern: str, text: str, is_match: bool) -> None:
    assert tags.matches(Selection(tag_filters=(TagFilter.of("Name", pattern),)), held(Name=text)) is is_match


@pytest.mark.req("CP-049", "A39")
def test_star_in_a_key_is_only_a_star() -> None:
    selection = Selection(tag_filters=(TagFilter.of("R*", "web"),))

    assert not tags.matches(selection, held(Role="web"))
    assert tags.matches(selection, [Tag("R*", "web")])


@pytest.mark.req("CP-171")
def test_empty_selection_matches_nothing() -> None:
    assert not tags.matches(Selection(), held(Role="web"))


@pytest.mark.parametrize(
    "selection, reason, named",
    [
        pytest.param(
            Selection(tag_filters=ENVIRONMENT, tag_set=(TYPE,)),
            "InvalidEC2TagCombinationException",
            "not both",
            marks=pytest.mark.req("CP-047", "T13"),
        ),
        pytest.param(
            Selection(tag_set=(ENVIRONMENT, REGION, TYPE, TYPE)),
            "TagSetListLimitExceededException",
            "at most 3",
            marks=pytest.mark.req("CP-045", "T14"),
        ),
        pytest.param(
            Selection(tag_filters=(TagFilter.of("a", "b"),) * 11),
            "InvalidEC2TagException",
            "at most 10",
            marks=pytest.mark.req("CP-046", "T14"),
        ),
        pytest.param(Selection(tag_set=((),)), "InvalidEC2TagException", "is empty"),
        pytest.param(Selection(tag_filters=(TagFilter.of("k" * 129, "v"),)), "InvalidTagException", "128"),
        pytest.param(Selection(tag_filters=(TagFilter.of("k", "v" * 257),)), "InvalidTagException", "256"),
        pytest.param(
            Selection(tag_filters=(TagFilter.of("k", "v\r"),)),
            "InvalidTagException",
            "cannot be printed",
            marks=pytest.mark.req("CP-035"),
        ),
        pytest.param(
            Selection(tag_filters=(TagFilter(type=TagFilterType.KEY_ONLY, value="v"),)),
            "InvalidEC2TagException",
            "has no key",
        ),
        pytest.param(
            Selection(tag_filters=(TagFilter.of("", ""),)), "InvalidEC2TagException", "has no value"
        ),
    ],
)
def test_refused_selection(selection: Selection, reason: str, named: str) -> None:
    with pytest.raises(SelectionProblem, match=named) as problem:
        tags.validate(selection)

    assert problem.value.reason == reason


@pytest.mark.req("CP-046", "CP-047")
def test_on_premises_reasons_have_names_of_their_own() -> None:
    with pytest.raises(SelectionProblem, match="not both") as problem:
        tags.validate(Selection(tag_filters=ENVIRONMENT, tag_set=(TYPE,)), on_premises=True)
    assert problem.value.reason == "InvalidOnPremisesTagCombinationException"
    with pytest.raises(SelectionProblem, match="at most 10") as problem:
        tags.validate(Selection(tag_filters=(TagFilter.of("a", "b"),) * 11), on_premises=True)
    assert problem.value.reason == "InvalidTagException"


@pytest.mark.req("CP-045", "CP-046")
def test_limits_themselves_are_fine() -> None:
    ten = (TagFilter.of("k" * 128, "v" * 256),) * 10

    tags.validate(Selection(tag_set=(ten, ten, ten)))
    tags.validate(Selection())


def instance(instance_id: str, its_tags: list[Tag], deregistered_at: Instant | None = None) -> Instance:
    return Instance(
        instance_id=InstanceId(instance_id),
        name=instance_id,
        kind=InstanceKind.ON_PREMISES,
        arn="",
        tags=tuple(its_tags),
        zone="",
        registered_at=Instant(1),
        deregistered_at=deregistered_at,
    )
