"""`ferryman instance register` and `deregister`: several steps each, and always a word on what is left to do."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ferryman.v1 import instances_pb2, inventory_pb2, tokens_pb2, types_pb2
from ferryman_client import errors
from ferryman_client.cli import hostfile, render
from ferryman_client.cli.configs import parse_duration
from ferryman_client.cli.hostfile import HostFile
from ferryman_client.cli.session import EXIT_FAILED, EXIT_USAGE, JsonOption, ask, exit_code, fail, parse_tag
from ferryman_client.cli.words import iso_time, plain
from ferryman_client.client import Client


@dataclass(frozen=True, slots=True)
class Step:
    """`by_hand` is the command that does the same."""

    by_hand: str
    run: Callable[[Client], Awaitable[None]]


def run_steps(steps: Sequence[Step]) -> None:
    """One after another; when one fails, tells what is left to do by hand, and ends the process."""
    done = 0

    async def run(client: Client) -> None:
        nonlocal done
        for step in steps:
            await step.run(client)
            done += 1

    def told(problem: Exception) -> None:
        render.print_error(str(problem))
        if done:
            render.note("left to do by hand:")
            for step in steps[done:]:
                render.note(f"  {step.by_hand}")

    try:
        ask(_reporting(run, told))
    except OSError as problem:
        told(problem)
        raise typer.Exit(EXIT_FAILED) from problem


def _reporting(
    run: Callable[[Client], Awaitable[None]], told: Callable[[Exception], None]
) -> Callable[[Client], Awaitable[None]]:
    async def reported(client: Client) -> None:
        try:
            await run(client)
        except errors.ClientError as problem:
            told(problem)
            raise typer.Exit(exit_code(problem)) from problem

    return reported


def register(
    name: Annotated[str, typer.Argument(help="What to call the instance.")],
    iam_user_arn: Annotated[
        str, typer.Option("--iam-user-arn", help="The IAM user that CodeDeploy's tools know it by.")
    ] = "",
    iam_session_arn: Annotated[
        str, typer.Option("--iam-session-arn", help="The IAM session that CodeDeploy's tools know it by.")
    ] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="KEY=VALUE. Repeat for more.")] = None,
    ttl: Annotated[str, typer.Option("--ttl", help="How long its machine can enrol: 30m, 1h, 7d.")] = "1h",
    coordinator: Annotated[
        str,
        typer.Option("--coordinator", help="HOST:PORT that the machine reaches us at, where it is another."),
    ] = "",
    file: Annotated[
        Path | None, typer.Option("--file", help="Where to write the host file; needs no ARN to be given.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a host file that is there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Register an instance by name, from anywhere, before its machine comes.

    Writes a host file for the machine: ferryman.onpremises.yml, here, unless an ARN is given. Example:

        ferryman instance register web-7 --tag role=web
    """
    seconds = parse_duration(ttl)
    if not seconds:
        fail(f"a token with --ttl {ttl} could never be used: give a duration such as 30m", EXIT_USAGE)
    has_arn = bool(iam_user_arn or iam_session_arn)
    if has_arn and file is not None:
        fail("no host file is written for an instance with an ARN: leave --file out", EXIT_USAGE)
    tags = [parse_tag(text) for text in tag or ()]
    made = _Registered()
    order = instances_pb2.RegisterInstanceRequest(
        instance_name=name,
        iam_user_arn=iam_user_arn,
        iam_session_arn=iam_session_arn,
        by_certificate=not has_arn,
    )
    place = None if has_arn else _reserved(file or Path(hostfile.FILE_NAME), overwrite=overwrite)
    try:
        run_steps(_registering(made, order, tags, seconds, place, coordinator))
    finally:
        if place is not None:
            place.close()
    path = "" if place is None else str(place.path)
    if as_json:
        render.print_json({"instance": plain(made.instance), "token": made.token, "file": path})
        return
    render.say(f"instance {name} registered ({made.instance.instance_id})")
    _say_next(made, path)


class _Registered:
    """What has come of it so far."""

    def __init__(self) -> None:
        self.instance = inventory_pb2.Instance()
        self.token = ""
        self.expires_at = 0
        self.address = ""


def _registering(
    made: _Registered,
    order: instances_pb2.RegisterInstanceRequest,
    tags: Sequence[types_pb2.Tag],
    ttl_seconds: int,
    place: HostFile | None,
    coordinator: str,
) -> list[Step]:
    name = order.instance_name

    async def enter(client: Client) -> None:
        made.address = coordinator or client.address
        made.instance.CopyFrom((await client.call(client.instances.RegisterInstance, order)).instance)

    async def tag(client: Client) -> None:
        request = instances_pb2.TagInstancesRequest(instances=[name], add=tags)
        (tagged,) = (await client.call(client.instances.TagInstances, request)).instances
        made.instance.CopyFrom(tagged)

    async def make_token(client: Client) -> None:
        request = tokens_pb2.CreateJoinTokenRequest(
            uses=1, ttl_seconds=ttl_seconds, instance_name=name, allowed_tags=tokens_pb2.TagRule()
        )
        answer = await client.call(client.tokens.CreateJoinToken, request)
        made.token, made.expires_at = answer.token, answer.join_token.expires_at
        if place is not None:
            place.fill(name=name, coordinator=made.address, token=made.token)

    quoted = shlex.quote(name)
    steps = [Step(f"ferryman instance register {quoted} …", enter)]
    if tags:
        add = " ".join(f"--add {shlex.quote(f'{one.key}={one.value}')}" for one in tags)
        steps.append(Step(f"ferryman instance tag {quoted} {add}", tag))
    steps.append(Step(f"ferryman token create --join --instance-name {quoted} --preset-tags", make_token))
    return steps


def _reserved(path: Path, *, overwrite: bool) -> HostFile:
    try:
        return HostFile(path, overwrite=overwrite)
    except FileExistsError:
        fail(f"{path} is there already: give --overwrite, or another place with --file", EXIT_USAGE)
    except OSError as problem:
        fail(f"cannot write {path}: {problem.strerror}", EXIT_USAGE)


def _say_next(made: _Registered, path: str) -> None:
    until = f"until {iso_time(made.expires_at)}"
    if path:
        render.note(f"{path} (mode 0600) lets its machine in once, {until}. Next, on the machine, as root:")
        render.note(f"  copy it to {hostfile.PLACE}")
        render.note("  ferryman-agent enroll")
    else:
        render.say(made.token)
        render.note(f"the token lets its machine in once, {until}. Next, on the machine, as root:")
        render.note(f"  ferryman-agent enroll --coordinator {made.address} --token …")
    render.note("  systemctl enable --now ferryman-agent")


def deregister(
    instance: Annotated[str, typer.Argument(help="Name or id of the instance.")],
    keep_tags: Annotated[
        bool, typer.Option("--keep-tags", help="Leave its tags on the record that stays as history.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take an instance out of all future deployments: remove its tags, deregister it, and revoke its certificate.

    Nothing is removed from the machine. What runs there goes on to its end.
    """
    if not yes and not typer.confirm(f"Deregister {instance}? Its agent will have to enrol anew"):
        fail("nothing was changed", EXIT_USAGE)
    request = inventory_pb2.GetInstanceRequest(instance=instance)
    found = ask(lambda client: client.call(client.inventory.GetInstance, request)).instance
    if found.deregistered_at:
        render.say(f"instance {instance} was deregistered before, at {iso_time(found.deregistered_at)}")
        return

    async def untag(client: Client) -> None:
        wish = instances_pb2.TagInstancesRequest(instances=[found.instance_id], remove=found.tags)
        await client.call(client.instances.TagInstances, wish)

    async def leave(client: Client) -> None:
        wish = inventory_pb2.DeregisterInstanceRequest(instance=found.instance_id)
        await client.call(client.inventory.DeregisterInstance, wish)

    quoted = shlex.quote(instance)
    remove = " ".join(f"--remove {shlex.quote(f'{one.key}={one.value}')}" for one in found.tags)
    steps = [Step(f"ferryman instance deregister {quoted} --keep-tags", leave)]
    if found.tags and not keep_tags:
        steps.insert(0, Step(f"ferryman instance tag {quoted} {remove}", untag))
    run_steps(steps)
    render.say(f"instance {instance} deregistered")
    render.note("its machine was left as it is. Next, there, when it is to be gone for good:")
    render.note("  ferryman-agent stop, then remove the package and its identity file")
