"""Who belongs to a group: the union of everything that it selects by (CP-043, CP-050, CP-051, CP-058)."""

from __future__ import annotations

import pytest

from ferryman_coordinator.core.group_options import GroupOptions
from ferryman_coordinator.core.inventory import InstanceKind, LifecycleState
from ferryman_coordinator.core.membership import Candidate, Membership
from ferryman_coordinator.core.tags import NO_SELECTION, Selection, Tag, TagFilter

WEB = Selection(tag_filters=(TagFilter.of("role", "web"),))
OLD = Selection(tag_filters=(TagFilter.of("role", "web"), TagFilter.of("tier", "front")))


def candidate(
    kind: InstanceKind = InstanceKind.ON_PREMISES,
    group: str = "",
    state: LifecycleState = LifecycleState.IN_SERVICE,
    **tags: str,
) -> Candidate:
    return Candidate(
        kind=kind,
        tags=tuple(Tag(key, value) for key, value in tags.items()),
        auto_scaling_group=group,
        lifecycle_state=state,
    )


@pytest.mark.req("CP-050", "CP-043")
def test_the_selections_by_kind_are_for_instances_of_that_kind_only() -> None:
    options = GroupOptions(cloud_selection=WEB, on_premises_selection=OLD)
    group = Membership.of(NO_SELECTION, options)
    cloud, here = InstanceKind.CLOUD, InstanceKind.ON_PREMISES
    assert group.includes(candidate(cloud, role="web"))
    assert not group.includes(candidate(cloud, tier="front"))
    assert group.includes(candidate(here, tier="front"))
    assert group.includes(candidate(here, role="web"))
    assert not group.includes(candidate(here, role="db"))
    anyone = Membership.of(WEB)
    assert anyone.includes(candidate(cloud, role="web"))
    assert anyone.includes(candidate(here, role="web"))


@pytest.mark.req("CP-051", "CP-058")
@pytest.mark.parametrize("state", LifecycleState)
def test_of_an_autoscaling_group_those_in_service_belong(state: LifecycleState) -> None:
    group = Membership.of(WEB, GroupOptions(auto_scaling_groups=("web-asg",)))
    assert group.includes(candidate(group="web-asg", state=state)) is (state is LifecycleState.IN_SERVICE)
    # A tag does not bring one in before its launch is done, nor keep it while it ends.
    assert group.includes(candidate(group="web-asg", state=state, role="web")) is (
        state is LifecycleState.IN_SERVICE
    )
    assert not group.includes(candidate(group="other-asg", state=state))


def test_a_member_of_another_autoscaling_group_belongs_by_its_tags_while_it_lives() -> None:
    group = Membership.of(WEB, GroupOptions(auto_scaling_groups=("web-asg",)))
    assert group.includes(candidate(group="other-asg", role="web"))
    assert not group.includes(candidate(group="other-asg", state=LifecycleState.TERMINATED, role="web"))


@pytest.mark.req("CP-171")
def test_a_group_without_any_selector_is_empty() -> None:
    assert Membership.of(NO_SELECTION).is_empty
    assert not Membership.of(NO_SELECTION).includes(candidate(role="web"))
    for options in (
        GroupOptions(cloud_selection=WEB),
        GroupOptions(on_premises_selection=WEB),
        GroupOptions(auto_scaling_groups=("web-asg",)),
    ):
        assert not Membership.of(NO_SELECTION, options).is_empty
