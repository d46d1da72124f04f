"""Batches stored as one group leave what they leave when stored one after another, and fail the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ferryman_coordinator.errors import ConstraintBroken, NotMatched
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.database import Group, Verdict
from ferryman_coordinator.store.sqlite import SqliteFaults, begin_for_real
from ferryman_coordinator.store.statements import Statements
from ferryman_coordinator.store.tables import applications, deployment_groups, installations, metadata

IDS = st.sampled_from("abc")
# What has children never comes back once it is deleted: a group takes a parent that comes later, others do not.
WRITTEN = st.sampled_from("abd")
DELETED = st.sampled_from("cd")
# Many, so that most groups hold no mistake: one that does is replayed, which is not what is hard.
NAMES = st.integers(0, 40).map(str)
TABLES = (applications, deployment_groups, installations)


def application(application_id: str, name: str) -> dict[str, Any]:
    return {"application_id": application_id, "name": name, "compute_platform": "Server", "created_at": 0}


def group(group_id: str, application_id: str, name: str) -> dict[str, Any]:
    """A child: it needs its application, and goes with it."""
    return {
        "group_id": group_id,
        "application_id": application_id,
        "name": name,
        "config_name": "c",
        "selection": "{}",
        "auto_rollback": "{}",
        "created_at": 0,
    }


def installation(group_id: str, instance_id: str, outcome: str) -> dict[str, Any]:
    return {
        "group_id": group_id,
        "instance_id": instance_id,
        "last_outcome": outcome,
        "last_deployment_id": "d",
        "attempted_at": 0,
    }


ROWS = st.one_of(
    st.tuples(st.just(applications), st.builds(application, WRITTEN, NAMES)),
    st.tuples(st.just(deployment_groups), st.builds(group, IDS, IDS, NAMES)),
    st.tuples(st.just(installations), st.builds(installation, IDS, IDS, NAMES)),
)
WRITES = st.one_of(
    st.tuples(st.sampled_from(["put", "put", "put", "put", "put", "insert", "add"]), ROWS),
    st.tuples(st.just("rename"), st.tuples(IDS, NAMES)),
    st.tuples(st.just("rename exactly one"), st.tuples(IDS, NAMES)),
    st.tuples(st.just("delete"), DELETED),
    st.tuples(st.just("ensure"), NAMES),
)


def batch_of(writes: Sequence[tuple[str, Any]]) -> Batch:
    batch = Batch()
    for kind, what in writes:
        match kind:
            case "put" | "insert" | "add":
                getattr(batch, kind)(*what)
            case "rename":
                batch.update(applications, {"application_id": what[0]}, {"name": what[1]})
            case "rename exactly one":
                batch.update(applications, {"application_id": what[0]}, {"name": what[1]}, expect=1)
            case "delete":
                batch.delete(applications, {"application_id": what})
            case _:
                batch.ensure("not named", ~sa.exists().where(applications.c.name == what))
    return batch


ENGINE = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
begin_for_real(ENGINE, ["PRAGMA foreign_keys=ON"])
metadata.create_all(ENGINE, TABLES)
STATEMENTS = Statements(ENGINE.dialect)


def stored(groups: Sequence[Sequence[Batch]]) -> tuple[list[str], list[list[tuple[Any, ...]]]]:
    """Verdicts and final rows after these groups, on a database with the applications a, b and c."""
    verdicts: list[Verdict] = []
    with ENGINE.connect() as connection:
        with connection.begin():
            for table in reversed(TABLES):
                connection.execute(sa.delete(table))
            connection.execute(sa.insert(applications), [application(one, f"name of {one}") for one in "abc"])
        for batches in groups:
            verdicts += Group(STATEMENTS, SqliteFaults("memory"), batches).store(connection)
        rows = [
            [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]
            for table in TABLES
        ]
    return [_outcome(verdict) for verdict in verdicts], rows


def _outcome(verdict: Verdict) -> str:
    match verdict:
        case None:
            return "stored"
        case ConstraintBroken(name=name):
            return name
        case NotMatched():
            return "not matched"
        case error:
            raise error


@settings(max_examples=300)
@example(
    [
        # A name that is taken for a moment only: the first batch must be refused all the same.
        batch_of(
            [("put", (applications, application("a", "0"))), ("put", (applications, application("b", "0")))]
        ),
        batch_of([("put", (applications, application("a", "1")))]),
    ]
)
@given(st.lists(st.lists(WRITES, min_size=1, max_size=5).map(batch_of), min_size=2, max_size=8))
def test_a_group_is_as_good_as_one_after_another(batches: list[Batch]) -> None:
    assert stored([batches]) == stored([[batch] for batch in batches])
