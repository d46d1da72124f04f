"""`ferryman autoscaling`: launching, in-service, terminating, terminated, show, watch, list, check, reinstall, pass."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from ferryman.v1 import scaling_pb2 as pb
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.session import EXIT_FAILED, EXIT_TIMED_OUT, EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import iso_time, plain
from ferryman_client.client import Client

app = typer.Typer(
    no_args_is_help=True, help="Instances that come and go by themselves, and who waits for them."
)

GroupArgument = Annotated[str, typer.Argument(metavar="AUTOSCALING-GROUP", help="Name of the group.")]
InstanceArgument = Annotated[
    str, typer.Argument(help="Id that its provider issued, or the name or id of one that has enrolled.")
]
TokenOption = Annotated[
    str, typer.Option("--token", help="The autoscaler's own for this; comes back with the answer.")
]
HookOption = Annotated[
    str, typer.Option("--hook", help="Name of the hook that waits; all of the group's by default.")
]
CallbackOption = Annotated[
    str, typer.Option("--callback", help="Sink of the coordinator's settings that gets the answer.")
]
ZoneOption = Annotated[str, typer.Option("--zone", help="Where it is.")]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait for the answer; exits 1 when it is ABANDON.")
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Wait at most so many seconds, then exit 7.")
]
DeploymentGroupArgument = Annotated[
    str, typer.Argument(metavar="DEPLOYMENT-GROUP", help="Name of the deployment group.")
]
ApplicationOption = Annotated[
    str, typer.Option("--application", "-a", help="Application of the deployment group.")
]
OnlyOption = Annotated[
    str, typer.Option("--autoscaling-group", help="Only in this one; in all of the group's by default.")
]

_STYLES = {"CONTINUE": "green", "ABANDON": "bold red"}
_NAMES = {
    pb.LIFECYCLE_TRANSITION_LAUNCHING: "launching",
    pb.LIFECYCLE_TRANSITION_TERMINATING: "terminating",
}
_RESULTS = {pb.LIFECYCLE_ACTION_RESULT_CONTINUE: "CONTINUE", pb.LIFECYCLE_ACTION_RESULT_ABANDON: "ABANDON"}


@app.command()
def launching(
    group: GroupArgument,
    instance: InstanceArgument,
    token: TokenOption = "",
    hook: HookOption = "",
    callback: CallbackOption = "",
    zone: ZoneOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that an instance launches: it is deployed to before it goes into service.

    Example: ferryman autoscaling launching web-fleet i-0abc123 --wait
    """
    request = pb.NotifyTransitionRequest(
        auto_scaling_group=group,
        instance=instance,
        transition=pb.LIFECYCLE_TRANSITION_LAUNCHING,
        token=token,
        hook=hook,
        callback=callback,
        zone=zone,
    )
    _notify(request, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def terminating(
    group: GroupArgument,
    instance: InstanceArgument,
    token: TokenOption = "",
    hook: HookOption = "",
    callback: CallbackOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that an instance is to be ended: what runs on it is stopped first.

    Example: ferryman autoscaling terminating web-fleet i-0abc123 --wait
    """
    request = pb.NotifyTransitionRequest(
        auto_scaling_group=group,
        instance=instance,
        transition=pb.LIFECYCLE_TRANSITION_TERMINATING,
        token=token,
        hook=hook,
        callback=callback,
    )
    _notify(request, wait=wait, timeout=timeout, as_json=as_json)


@app.command(name="in-service")
def in_service(
    group: GroupArgument, instance: InstanceArgument, zone: ZoneOption = "", as_json: JsonOption = False
) -> None:
    """Say that an instance is in service: a member from now on. Nothing is deployed to it for that."""
    request = pb.PutInServiceRequest(auto_scaling_group=group, instance=instance, zone=zone)
    placed = ask(lambda client: client.call(client.scaling.PutInService, request)).instance
    if as_json:
        render.print_json(placed)
    else:
        render.say(f"{placed.name} is in service in {group}")


@app.command()
def terminated(group: GroupArgument, instance: InstanceArgument) -> None:
    """Say that an instance is gone: its identity ends, and what still runs on it has failed."""
    request = pb.PutTerminatedRequest(auto_scaling_group=group, instance=instance)
    ask(lambda client: client.call(client.scaling.PutTerminated, request))
    render.say(f"{instance} is gone")


@app.command()
def show(
    group: GroupArgument,
    token: Annotated[str, typer.Argument(help="Token of the action; `list` shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Show what is done for one instance, and its answer."""
    request = pb.GetLifecycleActionRequest(auto_scaling_group=group, token=token)
    action = ask(lambda client: client.call(client.scaling.GetLifecycleAction, request)).action
    _print(action, as_json=as_json)


@app.command()
def watch(
    group: GroupArgument,
    token: Annotated[str, typer.Argument(help="Token of the action; `list` shows it.")],
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait for an answer. Exits 1 when it is ABANDON."""
    action = ask(lambda client: _answer(client, group, token, timeout))
    _conclude(action, as_json=as_json)


@app.command(name="list")
def list_(
    group: Annotated[str, typer.Option("--autoscaling-group", help="Only of this one.")] = "",
    instance: Annotated[str, typer.Option("--instance-id", help="Only of this one.")] = "",
    open_only: Annotated[bool, typer.Option("--open", help="Only those without an answer.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List instances that launched or ended, newest first, with what was answered."""

    async def read(client: Client) -> list[pb.LifecycleAction]:
        request = pb.ListLifecycleActionsRequest(
            auto_scaling_group=group, instance_id=instance, open_only=open_only
        )
        pages = every_page(lambda page: client.call(client.scaling.ListLifecycleActions, page), request)
        return [item async for response in pages for item in response.actions]

    found = ask(read)
    if as_json:
        render.print_json(found)
        return
    render.print_table(
        ("AUTOSCALING GROUP", "INSTANCE", "WHAT", "ANSWER", "DEPLOYMENTS", "SINCE", "TOKEN"),
        (
            (
                one.auto_scaling_group,
                one.instance_id,
                _NAMES.get(one.transition, "-"),
                _result(one),
                ", ".join(step.deployment_id for step in one.steps if step.deployment_id) or "-",
                iso_time(one.created_at),
                one.token,
            )
            for one in found
        ),
        empty="no instance has launched or ended; `ferryman autoscaling launching --help` says how that is told",
    )


@app.command()
def check(
    group: GroupArgument,
    hook: Annotated[
        list[str] | None, typer.Option("--hook", help="Name of a hook that the autoscaler has. Repeat.")
    ] = None,
    no_hooks: Annotated[bool, typer.Option("--no-hooks", help="It has none at all.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the hooks that deployment groups have in an autoscaling group, and compare them with its own.

    Exits 1 when they differ, or when launches go round in circles.
    """
    if hook and no_hooks:
        fail("give --hook or --no-hooks, not both", EXIT_USAGE)
    compare = bool(hook) or no_hooks
    request = pb.CheckHooksRequest(auto_scaling_group=group, hooks=hook or (), compare=compare)
    checked = ask(lambda client: client.call(client.scaling.CheckHooks, request))
    if as_json:
        render.print_json(checked)
    else:
        _print_hooks(list(checked.hooks))
        render.warn(_difference(one) for one in checked.differences)
        render.warn(
            f"{one.abandons} launches in a row failed at {one.application_name}/{one.deployment_group_name}: deploy a"
            f" revision that works, or let instances in without one: ferryman autoscaling pass"
            f" {one.deployment_group_name} -a {one.application_name}"
            for one in checked.hooks
            if one.is_looping
        )
    if checked.differences or any(one.is_looping for one in checked.hooks):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def reinstall(
    group: DeploymentGroupArgument,
    application: ApplicationOption,
    only: OnlyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Give a deployment group's hooks new names, for the autoscaler to take up. Deploys nothing."""
    request = pb.ReinstallHooksRequest(
        application_name=application, deployment_group_name=group, auto_scaling_group=only
    )
    made = ask(lambda client: client.call(client.scaling.ReinstallHooks, request))
    if as_json:
        render.print_json(made)
    else:
        _print_hooks(list(made.hooks))


@app.command(name="pass")
def let_pass(
    group: DeploymentGroupArgument,
    application: ApplicationOption,
    only: OnlyOption = "",
    off: Annotated[bool, typer.Option("--off", help="Deploy to new instances again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let new instances go into service without a deployment: the way out when every launch fails."""
    request = pb.LetLaunchesPassRequest(
        application_name=application,
        deployment_group_name=group,
        auto_scaling_group=only,
        passes=not off,
    )
    made = ask(lambda client: client.call(client.scaling.LetLaunchesPass, request))
    if as_json:
        render.print_json(made)
        return
    _print_hooks(list(made.hooks))
    if not off:
        render.note(
            f"deploy to them with `ferryman deploy`, then: ferryman autoscaling pass {group} -a {application} --off"
        )


def _notify(request: pb.NotifyTransitionRequest, *, wait: bool, timeout: float | None, as_json: bool) -> None:
    async def say(client: Client) -> pb.LifecycleAction:
        action = (await client.call(client.scaling.NotifyTransition, request)).action
        if not wait or action.result:
            return action
        return await _answer(client, action.auto_scaling_group, action.token, timeout)

    action = ask(say)
    if wait:
        _conclude(action, as_json=as_json)
    else:
        _print(action, as_json=as_json)


async def _answer(client: Client, group: str, token: str, timeout: float | None) -> pb.LifecycleAction:
    """Returns the action with its answer; ends the process when there is none in time."""
    try:
        async with asyncio.timeout(timeout):
            return await client.lifecycle_answer(group, token)
    except TimeoutError:
        fail(f"no answer within {timeout:g} s", EXIT_TIMED_OUT)


def _conclude(action: pb.LifecycleAction, *, as_json: bool) -> None:
    _print(action, as_json=as_json)
    if action.result == pb.LIFECYCLE_ACTION_RESULT_ABANDON:
        raise typer.Exit(EXIT_FAILED)


def _print(action: pb.LifecycleAction, *, as_json: bool) -> None:
    if as_json:
        render.print_json(plain(action))
        return
    render.print_details(
        [
            ("Autoscaling group", action.auto_scaling_group),
            ("Instance", action.instance_id),
            ("What", _NAMES.get(action.transition, "")),
            ("Token", action.token),
            ("Since", iso_time(action.created_at)),
            ("Heartbeats", str(action.heartbeats)),
            ("Answer", _result(action)),
            ("Answered", iso_time(action.answered_at) if action.HasField("answered_at") else ""),
            *(("Note", Text(message, "yellow")) for message in action.messages),
        ]
    )
    if action.steps:
        render.say("")
        render.print_table(
            ("APPLICATION", "DEPLOYMENT GROUP", "STATUS", "DEPLOYMENT", "WHY"),
            (
                (
                    one.application_name,
                    one.deployment_group_name,
                    one.status,
                    one.deployment_id or "-",
                    one.message or "-",
                )
                for one in action.steps
            ),
            empty="",
        )


def _result(action: pb.LifecycleAction) -> Text:
    word = _RESULTS.get(action.result, "waits")
    return Text(word, _STYLES.get(word, ""))


def _print_hooks(hooks: list[pb.ScalingHook]) -> None:
    render.print_table(
        ("AUTOSCALING GROUP", "APPLICATION", "DEPLOYMENT GROUP", "LAUNCHES", "HOOK", "TERMINATION HOOK"),
        (
            (
                one.auto_scaling_group,
                one.application_name,
                one.deployment_group_name,
                _launches(one),
                one.launch_hook,
                one.termination_hook or "-",
            )
            for one in hooks
        ),
        empty="no deployment group has it; `ferryman group update NAME --autoscaling-group …` adds it",
    )


def _launches(hook: pb.ScalingHook) -> Text:
    if hook.passes:
        return Text("pass", "yellow")
    if hook.abandons:
        return Text(f"{hook.abandons} failed in a row", "bold red" if hook.is_looping else "yellow")
    return Text("deploy")


def _difference(one: pb.HookDifference) -> str:
    if one.is_left_over:
        return f"hook {one.hook} is nobody's here: remove it from the autoscaling group"
    group = one.deployment_group.rpartition("/")
    return (
        f"hook {one.hook} of {one.deployment_group} is missing in the autoscaling group: put it there, or get a new one"
        f" with ferryman autoscaling reinstall {group[2]} -a {group[0]}"
    )
