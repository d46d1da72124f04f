"""Whose files are worked with: a folder counts until the last of its users has gone, and then is forgotten."""

from __future__ import annotations

import pytest

from ferryman_agent.bundles.uses import Uses


def _names(uses: Uses) -> frozenset[str]:
    with uses.standing_still() as names:
        return names


@pytest.mark.req("V2-071")
def test_a_folder_is_in_use_until_its_last_user_has_gone() -> None:
    uses = Uses()
    with uses.of("d-1"):
        with uses.of("d-1"), uses.of("d-2"):
            assert _names(uses) == {"d-1", "d-2"}
        assert _names(uses) == {"d-1"}
    assert _names(uses) == frozenset()


def test_nothing_is_kept_of_deployments_that_are_over() -> None:
    uses = Uses()
    for number in range(1_000):
        with uses.of(f"d-{number}"):
            pass
    assert not uses._names
