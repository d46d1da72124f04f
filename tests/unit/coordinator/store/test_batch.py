"""How many small writes become few statements."""

from __future__ import annotations

from typing import Any

from ferryman_coordinator.store.batch import Batch, Deletion, Guard, Kind, Run, arrange
from ferryman_coordinator.store.tables import applications, changes, deployments, target_events, targets


def target(deployment_id: str, instance_id: str, status: str) -> dict[str, Any]:
    return {"deployment_id": deployment_id, "instance_id": instance_id, "status": status}


def runs(*batches: Batch) -> list[tuple[Kind, str, int]]:
    steps = list(arrange(batches))
    assert all(isinstance(step, Run) for step in steps)
    return [
        (step.shape.kind, step.shape.table.name, len(step.rows)) for step in steps if isinstance(step, Run)
    ]


def test_equal_shapes_of_many_batches_are_one_run_and_parents_come_first() -> None:
    reporting = Batch()
    reporting.put(targets, target("d-1", "a", "InProgress"))
    reporting.put(target_events, {"deployment_id": "d-1", "instance_id": "a", "name": "Install"})
    creating = Batch()
    creating.insert(deployments, {"deployment_id": "d-2"})
    creating.put(targets, target("d-2", "a", "Pending"))
    creating.put(targets, target("d-2", "b", "Pending"))
    creating.insert(changes, {"deployment_id": "d-2", "sequence": 1})
    found = runs(reporting, creating, reporting)
    assert found[0] == (Kind.INSERT, "deployments", 1)
    assert sorted(found[1:], key=lambda run: run[1]) == [
        (Kind.INSERT, "changes", 1),
        (Kind.PUT, "target_events", 1),
        (Kind.PUT, "targets", 3),
    ]


def test_a_later_put_replaces_an_earlier_one_in_its_place() -> None:
    batch = Batch()
    for instance_id, status in (("a", "Pending"), ("b", "Pending"), ("a", "Succeeded")):
        batch.put(targets, target("d-1", instance_id, status))
    (run,) = arrange([batch])
    assert isinstance(run, Run)
    assert run.rows == [("d-1", "a", "Succeeded"), ("d-1", "b", "Pending")]


def test_inserts_are_never_merged() -> None:
    batch = Batch()
    batch.insert(applications, {"application_id": "a"})
    batch.insert(applications, {"application_id": "a"})
    assert runs(batch) == [(Kind.INSERT, "applications", 2)]


def test_other_shapes_of_one_table_keep_their_order() -> None:
    batch = Batch()
    batch.put(applications, {"application_id": "a", "name": "1"})
    batch.update(applications, {"application_id": "a"}, {"name": "2"})
    batch.put(applications, {"application_id": "a", "name": "3"})
    assert [kind for kind, _, _ in runs(batch)] == [Kind.PUT, Kind.UPDATE, Kind.PUT]


def test_guards_and_deletes_keep_their_place() -> None:
    batch = Batch()
    batch.put(applications, {"application_id": "a", "name": "1"})
    batch.ensure("guard", applications.c.name == "1")
    batch.put(applications, {"application_id": "b", "name": "2"})
    batch.delete(applications, {"application_id": "a"})
    batch.put(applications, {"application_id": "c", "name": "3"})
    assert [type(step) for step in arrange([batch])] == [Run, Guard, Run, Deletion, Run]
