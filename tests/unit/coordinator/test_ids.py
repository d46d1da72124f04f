from __future__ import annotations

import random
import re
from uuid import UUID

import pytest

from ferryman_coordinator.ids import Ids


@pytest.mark.req("CP-009", "CP-004", "CP-007", "CP-075")
def test_identifiers_have_their_forms() -> None:
    ids = Ids()
    for _ in range(200):
        assert re.fullmatch(r"d-[A-Z0-9]{9}", ids.deployment_id())
        assert re.fullmatch(r"mi-[0-9a-f]{17}", ids.instance_id())
        assert re.fullmatch(r"[A-Za-z0-9]{10}", ids.suffix())
        assert re.fullmatch(r"[A-Za-z0-9]{43}", ids.secret())
        assert UUID(ids.guid()).version == 4


def test_nothing_is_drawn_twice() -> None:
    ids = Ids()
    assert len({ids.deployment_id() for _ in range(10_000)}) == 10_000
    assert len({ids.secret() for _ in range(1_000)}) == 1_000


def test_a_seed_draws_the_same_again() -> None:
    first, second = Ids(random.Random(3)), Ids(random.Random(3))
    assert [first.guid(), first.deployment_id()] == [second.guid(), second.deployment_id()]
