"""The flags that `ferryman group create` and `ferryman group update` share for the advanced options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CloudTagOption = Annotated[
    list[str] | None, typer.Option("--cloud-tag", help="Like --tag, for cloud instances only.")
]
OnPremisesTagOption = Annotated[
    list[str] | None, typer.Option("--on-premises-tag", help="Like --tag, for on-premises instances only.")
]
AutoscalingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--autoscaling-group", help="Members of this autoscaling group that are in service. Repeat."
    ),
]
TriggerOption = Annotated[
    list[str] | None,
    typer.Option("--trigger", help="NAME,ARN,EVENT[,EVENT…]: events that a topic is told of. Repeat."),
]
StyleOption = Annotated[str | None, typer.Option("--style", help="in-place or blue-green.")]
TrafficOption = Annotated[
    bool | None,
    typer.Option(
        "--traffic-control/--no-traffic-control", help="Take instances out of load balancers meanwhile."
    ),
]
LoadBalancerOption = Annotated[
    list[str] | None, typer.Option("--load-balancer", help="Name of a classic load balancer. Repeat.")
]
TargetGroupOption = Annotated[
    list[str] | None, typer.Option("--target-group", help="Name of a target group. Repeat.")
]
ServiceRoleOption = Annotated[
    str | None, typer.Option("--service-role", help="ARN of a role; kept for CodeDeploy's tools.")
]
OutdatedOption = Annotated[
    str | None,
    typer.Option(
        "--outdated-instances",
        help="update or ignore: what becomes of instances that joined during a deployment.",
    ),
]
QueueOption = Annotated[
    str | None,
    typer.Option(
        "--queue", help="refuse, fifo or newest: what becomes of a deployment while another one runs."
    ),
]
AgentUpdatesOption = Annotated[
    str | None, typer.Option("--agent-updates", help="never, once or scheduled: how agents are kept up.")
]
CatchUpOption = Annotated[
    bool | None,
    typer.Option(
        "--catch-up-on-premises/--no-catch-up-on-premises",
        help="Deploy to on-premises instances that missed a deployment when they are back.",
    ),
]
TerminationHookOption = Annotated[
    bool | None,
    typer.Option(
        "--termination-hook/--no-termination-hook", help="Run stop scripts before an instance is terminated."
    ),
]
RequireAllOption = Annotated[
    bool | None,
    typer.Option("--require-all/--no-require-all", help="One failed instance fails the deployment."),
]
SingleOption = Annotated[
    bool | None,
    typer.Option(
        "--single-as-one-at-a-time/--no-single-as-one-at-a-time",
        help="Deploy to a group of one instance whatever share has to stay healthy.",
    ),
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from", help="YAML file with tags, config, alarms, triggers and all other options; see the manual."
    ),
]
