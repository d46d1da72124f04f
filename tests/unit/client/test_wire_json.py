"""How messages look as JSON, which is what people and tools get to see of them."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format

from ferryman.v1 import inventory_pb2
from ferryman_client.cli import render


@pytest.mark.req("CP-138", "A18", "T12")
def test_the_zonal_part_is_an_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    part = {"monitorDurationSeconds": "60"}
    config = json_format.ParseDict({"name": "Zones", "zonal": part}, inventory_pb2.DeploymentConfig())
    assert config.zonal.monitor_duration_seconds == 60
    render.print_json(config)
    assert isinstance(json.loads(capsys.readouterr().out)["zonal"], dict)
    with pytest.raises(json_format.ParseError, match="zonal"):
        json_format.ParseDict({"name": "Zones", "zonal": [part]}, inventory_pb2.DeploymentConfig())
