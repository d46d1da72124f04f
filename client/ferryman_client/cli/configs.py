"""`ferryman config`: create, list, show, delete."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import enum_number, enum_word, healthy_hosts, iso_time, zone_pauses
from ferryman_client.client import Client

app = typer.Typer(
    no_args_is_help=True, help="Deployment configurations: how fast, and what counts as success."
)

# What the wire has room for. The coordinator has limits of its own, which are lower.
_MOST = 2**32 - 1

NameArgument = Annotated[str, typer.Argument(help="Name of the deployment configuration.")]


@app.command()
def create(
    name: NameArgument,
    min_healthy: Annotated[
        str,
        typer.Option(
            "--min-healthy", help="Server: instances that stay healthy, a count (3) or a share (75%)."
        ),
    ] = "",
    platform: Annotated[str, typer.Option("--platform", help="Server, Lambda or ECS.")] = "Server",
    canary: Annotated[
        int | None, typer.Option("--canary", help="Lambda, ECS: first so many percent, later the rest.")
    ] = None,
    linear: Annotated[
        int | None, typer.Option("--linear", help="Lambda, ECS: so many percent at a time.")
    ] = None,
    every: Annotated[
        int, typer.Option("--every", help="With --canary or --linear: minutes between two shifts.")
    ] = 0,
    zonal: Annotated[
        bool, typer.Option("--zonal", help="One zone after another; implied by the other --zone options.")
    ] = False,
    zone_min_healthy: Annotated[
        str, typer.Option("--zone-min-healthy", help="Healthy instances in each zone: 1 or 50%.")
    ] = "",
    zone_monitor: Annotated[
        str, typer.Option("--zone-monitor", help="Pause after each zone, such as 90s, 10m, 1h.")
    ] = "",
    first_zone_monitor: Annotated[
        str, typer.Option("--first-zone-monitor", help="Pause after the first zone.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Create a deployment configuration. It can never be changed, only deleted.

    Examples: ferryman config create Slow --min-healthy 75%
    · ferryman config create Canary10 --platform Lambda --canary 10 --every 5
    """
    number = enum_number(types_pb2.ComputePlatform.DESCRIPTOR, platform)
    if number is None:
        fail(f"'{platform}' is no platform: choose Server, Lambda or ECS", EXIT_USAGE)
    if not min_healthy and number == types_pb2.COMPUTE_PLATFORM_SERVER and canary is None and linear is None:
        fail("give --min-healthy: a count (3) or a share (75%)", EXIT_USAGE)
    request = inventory_pb2.CreateDeploymentConfigRequest(
        name=name,
        compute_platform=types_pb2.ComputePlatform.ValueType(number),
        minimum_healthy_hosts=parse_minimum(min_healthy) if min_healthy else None,
        traffic_routing=_routing(number, canary, linear, every),
    )
    if zonal or zone_min_healthy or zone_monitor or first_zone_monitor:
        request.zonal.SetInParent()
        if zone_min_healthy:
            request.zonal.minimum_healthy_hosts_per_zone.CopyFrom(parse_minimum(zone_min_healthy))
        if zone_monitor:
            request.zonal.monitor_duration_seconds = parse_duration(zone_monitor)
        if first_zone_monitor:
            request.zonal.first_zone_monitor_duration_seconds = parse_duration(first_zone_monitor)
    response = ask(lambda client: client.call(client.inventory.CreateDeploymentConfig, request))
    if as_json:
        render.print_json(response)
    else:
        render.say(f"deployment configuration {name} created")


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List deployment configurations, predefined ones included."""

    async def read(client: Client) -> list[inventory_pb2.DeploymentConfig]:
        request = inventory_pb2.ListDeploymentConfigsRequest()
        pages = every_page(lambda page: client.call(client.inventory.ListDeploymentConfigs, page), request)
        return [item async for response in pages for item in response.deployment_configs]

    found = ask(read)
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            item.name,
            enum_word(types_pb2.ComputePlatform.DESCRIPTOR, item.compute_platform) or "-",
            _rule_text(item),
            "yes" if item.HasField("zonal") else "no",
            "yes" if item.is_predefined else "no",
        )
        for item in found
    )
    render.print_table(("NAME", "PLATFORM", "RULE", "ZONAL", "PREDEFINED"), rows, empty="none")


@app.command()
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show one deployment configuration."""
    request = inventory_pb2.GetDeploymentConfigRequest(name=name)
    found = ask(lambda client: client.call(client.inventory.GetDeploymentConfig, request)).deployment_config
    if as_json:
        render.print_json(found)
        return
    rows = [
        ("Name", found.name),
        ("Id", found.deployment_config_id),
        ("Platform", enum_word(types_pb2.ComputePlatform.DESCRIPTOR, found.compute_platform) or ""),
        ("Rule", _rule_text(found)),
    ]
    if found.HasField("zonal"):
        first, others = zone_pauses(found.zonal)
        rows += [
            ("Healthy in each zone", healthy_hosts(found.zonal.minimum_healthy_hosts_per_zone)),
            ("Pause after first zone", f"{first} s" if first else "none"),
            ("Pause after a zone", f"{others} s" if others else "none"),
        ]
    if found.created_at:
        rows.append(("Created", iso_time(found.created_at)))
    render.print_details(rows)


@app.command()
def delete(name: NameArgument) -> None:
    """Delete a custom deployment configuration that nothing uses."""
    request = inventory_pb2.DeleteDeploymentConfigRequest(name=name)
    ask(lambda client: client.call(client.inventory.DeleteDeploymentConfig, request))
    render.say(f"deployment configuration {name} deleted")


def parse_minimum(text: str) -> inventory_pb2.MinimumHealthyHosts:
    """Returns the rule of `3` or `75%`; ends the process at anything else."""
    match = re.fullmatch(r"(-?\d+)(%?)", text.strip())
    if match is None:
        fail(
            f"'{text}' is no number of healthy instances: write a whole count (3) or share (75%)", EXIT_USAGE
        )
    kind = (
        inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_FLEET_PERCENT
        if match[2]
        else inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_HOST_COUNT
    )
    return inventory_pb2.MinimumHealthyHosts(type=kind, value=_within(int(match[1]), text))


def parse_duration(text: str) -> int:
    """Returns the seconds of `90s`, `10m`, `2h`, `1d` or `90`; ends the process at anything else."""
    match = re.fullmatch(r"(\d+)\s*([smhd]?)", text.strip())
    if match is None:
        fail(f"'{text}' is no duration: write 90s, 10m, 2h or 1d", EXIT_USAGE)
    return _within(int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]], text)


def _within(number: int, text: str) -> int:
    if abs(number) > _MOST:
        fail(f"'{text}' is too much: at most {_MOST} are possible", EXIT_USAGE)
    return number


def _routing(
    platform: int, canary: int | None, linear: int | None, every: int
) -> inventory_pb2.TrafficRouting | None:
    if canary is not None and linear is not None:
        fail("give --canary or --linear, not both", EXIT_USAGE)
    if canary is not None:
        kind = inventory_pb2.TRAFFIC_ROUTING_TYPE_TIME_BASED_CANARY
        return inventory_pb2.TrafficRouting(type=kind, percentage=canary, interval_minutes=every)
    if linear is not None:
        kind = inventory_pb2.TRAFFIC_ROUTING_TYPE_TIME_BASED_LINEAR
        return inventory_pb2.TrafficRouting(type=kind, percentage=linear, interval_minutes=every)
    if platform == types_pb2.COMPUTE_PLATFORM_SERVER:
        return None
    return inventory_pb2.TrafficRouting(type=inventory_pb2.TRAFFIC_ROUTING_TYPE_ALL_AT_ONCE)


def _rule_text(config: inventory_pb2.DeploymentConfig) -> str:
    if config.HasField("minimum_healthy_hosts"):
        minimum = config.minimum_healthy_hosts
        text = healthy_hosts(minimum)
        most = inventory_pb2.MINIMUM_HEALTHY_HOSTS_TYPE_MOST_CONCURRENCY
        return text if minimum.type == most else f"{text} healthy"
    routing = config.traffic_routing
    if routing.type == inventory_pb2.TRAFFIC_ROUTING_TYPE_TIME_BASED_CANARY:
        return f"{routing.percentage}% first, the rest after {routing.interval_minutes} min"
    if routing.type == inventory_pb2.TRAFFIC_ROUTING_TYPE_TIME_BASED_LINEAR:
        return f"{routing.percentage}% every {routing.interval_minutes} min"
    return "all at once"
