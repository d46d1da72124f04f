"""What `ferryman deployment retry` asks for: all that the deployment was created with."""

from __future__ import annotations

import pytest

from ferryman.v1 import deployments_pb2, inventory_pb2, types_pb2
from ferryman_client.cli.deployments import options_of


@pytest.mark.req("CP-349")
def test_no_option_is_left_behind() -> None:
    revision = types_pb2.RevisionLocation(url=types_pb2.UrlLocation(url="https://example.org/web.zip"))
    own_alarms = inventory_pb2.AlarmConfiguration(enabled=True, alarms=["latency"])
    rollback = inventory_pb2.AutoRollback(enabled=True, events=[types_pb2.ROLLBACK_EVENT_DEPLOYMENT_FAILURE])
    made = options_of(
        deployments_pb2.Deployment(
            deployment_id="d-AAAAAAAAA",
            application_name="shop",
            deployment_group_name="web",
            revision=revision,
            deployment_config_name="Gentle",
            description="nightly",
            ignore_application_stop_failures=True,
            file_exists_behavior=types_pb2.FILE_EXISTS_BEHAVIOR_RETAIN,
            adopt=True,
            update_outdated_instances_only=True,
            auto_rollback=rollback,
            options=inventory_pb2.GroupOptions(alarms=own_alarms),
            overrides_alarms=True,
        )
    )
    # A sequence number is used up, and no blue/green deployment starts yet.
    anew = {"sequence", "target_instances"}
    assert {field.name for field, _ in made.ListFields()} == set(made.DESCRIPTOR.fields_by_name) - anew
    assert (made.application_name, made.deployment_group_name) == ("shop", "web")
    assert (made.revision, made.auto_rollback) == (revision, rollback)
    assert (made.deployment_config_name, made.description) == ("Gentle", "nightly")
    assert made.override_alarms == own_alarms
    assert made.file_exists_behavior == types_pb2.FILE_EXISTS_BEHAVIOR_RETAIN


def test_settings_that_were_off_stay_off() -> None:
    made = options_of(deployments_pb2.Deployment(auto_rollback=inventory_pb2.AutoRollback(enabled=False)))
    # Present, so that not the group's of now is taken.
    assert made.HasField("auto_rollback")
    assert not made.auto_rollback.enabled


@pytest.mark.req("CP-349", "CP-214")
def test_alarms_of_the_group_are_the_group_s_again() -> None:
    alarms = inventory_pb2.AlarmConfiguration(enabled=True, alarms=["cpu"])
    made = options_of(deployments_pb2.Deployment(options=inventory_pb2.GroupOptions(alarms=alarms)))
    # Absent: to name them needs the right to change the group.
    assert not made.HasField("override_alarms")
