"""What `deploy` can say of alarms: instead of the group's, and over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ferryman.v1 import inventory_pb2
from ferryman_client.client import Client

AlarmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--alarm",
        help="Stop a deployment when this alarm is active; exact name, or SOURCE/NAME. Repeat for more.",
    ),
]
IgnoreOption = Annotated[
    bool | None,
    typer.Option(
        "--ignore-alarm-failures/--heed-alarm-failures",
        help="Go on, or stop, when the state of an alarm cannot be read.",
        show_default=False,
    ),
]
SwitchOption = Annotated[
    bool | None,
    typer.Option(
        "--alarms/--no-alarms", help="Watch the alarms, or none; the list is kept.", show_default=False
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmWish:
    """What the command line says of alarms; None: nothing."""

    names: list[str] | None
    ignore: bool | None
    watch: bool | None

    @property
    def is_empty(self) -> bool:
        return not self.names and self.ignore is None and self.watch is None

    async def over_group(
        self, client: Client, application: str, group: str
    ) -> inventory_pb2.AlarmConfiguration | None:
        """Returns what the wish makes of the group's configuration, None when nothing is wished for.

        Raises ClientError.
        """
        if self.is_empty:
            return None
        request = inventory_pb2.GetDeploymentGroupRequest(application_name=application, name=group)
        found = (await client.call(client.inventory.GetDeploymentGroup, request)).deployment_group
        return self.over(found.options.alarms)

    def over(self, known: inventory_pb2.AlarmConfiguration) -> inventory_pb2.AlarmConfiguration:
        """Returns `known` with what is wished for."""
        enabled = known.enabled if self.watch is None and not self.names else self.watch is not False
        return inventory_pb2.AlarmConfiguration(
            enabled=enabled,
            ignore_poll_alarm_failure=known.ignore_poll_alarm_failure if self.ignore is None else self.ignore,
            alarms=self.names or known.alarms,
        )
