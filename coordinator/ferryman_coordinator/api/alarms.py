"""AlarmService: which alarms there are, and how they are now."""

from __future__ import annotations

import grpc.aio

from ferryman.v1 import alarms_pb2 as pb
from ferryman.v1 import alarms_pb2_grpc
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping import alarms as mapping
from ferryman_coordinator.operations.alarms import Alarms


class AlarmServicer(alarms_pb2_grpc.AlarmServiceServicer):
    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms

    def register(self, server: grpc.aio.Server) -> str:
        alarms_pb2_grpc.add_AlarmServiceServicer_to_server(self, server)
        return "ferryman.v1.AlarmService"

    async def ListAlarms(self, request: pb.ListAlarmsRequest, context: Context) -> pb.ListAlarmsResponse:
        return mapping.listed_to(await self._alarms.list())

    async def TestAlarm(self, request: pb.TestAlarmRequest, context: Context) -> pb.TestAlarmResponse:
        return mapping.tested_to(await self._alarms.test(request.name))
