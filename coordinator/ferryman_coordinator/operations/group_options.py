"""What the advanced options of a deployment group may say (CP sections 8.1 and 8.3)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core import tags
from ferryman_coordinator.core.group_options import (
    DEFAULT_OPTIONS,
    AlarmConfiguration,
    BlueGreen,
    DeploymentOption,
    DeploymentStyle,
    DeploymentType,
    GreenProvisioning,
    GroupOptions,
    LoadBalancers,
    Trigger,
)
from ferryman_coordinator.core.inventory import Application, ComputePlatform
from ferryman_coordinator.core.tags import Selection
from ferryman_coordinator.errors import Invalid, LimitExceeded
from ferryman_coordinator.operations import names

WAIT_MINUTES = 2_880
"""Longest wait for replacement instances, and before the originals are terminated (CP-166, A28)."""

_ALARM_NAME = 255
_GROUP_NAME = 255
_TRIGGER_NAME = 256
_LOAD_BALANCER_NAME = 1_024
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}")
_ARN = re.compile(r"arn:[^:\s]+:[^:\s]+:[^:\s]*:[^:\s]*:\S{1,900}")
_SHIFTED = DeploymentStyle(type=DeploymentType.BLUE_GREEN, option=DeploymentOption.WITH_TRAFFIC_CONTROL)


def defaults(platform: ComputePlatform) -> GroupOptions:
    """What a new group has that says nothing (CP-161)."""
    if platform is ComputePlatform.SERVER:
        return DEFAULT_OPTIONS
    return replace(DEFAULT_OPTIONS, style=_SHIFTED)


def keeping_alarms(before: GroupOptions, after: GroupOptions) -> GroupOptions:
    """`after`, with the alarms of `before` when it only switches them off (CP-187)."""
    if after.alarms.enabled or after.alarms.alarms:
        return after
    return replace(after, alarms=replace(after.alarms, alarms=before.alarms.alarms))


def check(options: GroupOptions, application: Application, limits: Limits) -> None:
    """Raises the first mistake: Invalid or LimitExceeded, with CodeDeploy's names."""
    check_role(options.service_role_arn)
    _check_style(options.style, application)
    _check_load_balancers(options, application, limits)
    _check_blue_green(options, application)
    check_alarms(options.alarms, limits)
    _check_triggers(options.triggers, limits)


def check_selectors(selection: Selection, options: GroupOptions, limits: Limits) -> None:
    """Everything that says who belongs. Raises Invalid, LimitExceeded."""
    check_selection(selection, limits)
    check_selection(options.cloud_selection, limits)
    check_selection(options.on_premises_selection, limits, on_premises=True)
    _check_auto_scaling_groups(options.auto_scaling_groups, limits)


def check_selection(selection: Selection, limits: Limits, *, on_premises: bool = False) -> None:
    """Raises Invalid or LimitExceeded with CodeDeploy's names (CP-045 to CP-047)."""
    try:
        tags.validate(selection, on_premises=on_premises, limits=names.tag_limits(limits))
    except tags.SelectionProblem as problem:
        kind = LimitExceeded if problem.reason == "TagSetListLimitExceededException" else Invalid
        raise kind(problem.reason, problem.message) from problem


def check_role(arn: str) -> None:
    """Raises Invalid (InvalidRoleException). Whether one is needed, each door says for itself (CP-018)."""
    if arn and not _ROLE.fullmatch(arn):
        raise Invalid(
            "InvalidRoleException",
            f"{names.shown(arn)} is no ARN of a role: write arn:aws:iam::<12 digits>:role/<name>, or leave it out",
        )


def check_alarms(alarms: AlarmConfiguration, limits: Limits) -> None:
    """CP-186. Raises Invalid (InvalidAlarmConfigException), LimitExceeded (AlarmsLimitExceededException)."""
    reason = "InvalidAlarmConfigException"
    if len(alarms.alarms) > limits.alarms_per_group:
        raise LimitExceeded(
            "AlarmsLimitExceededException",
            f"{len(alarms.alarms)} alarms are given, at most {limits.alarms_per_group} are allowed: leave some out, or"
            " raise limits.alarms_per_group in the coordinator's configuration",
        )
    if alarms.enabled and not alarms.alarms:
        raise Invalid(reason, "alarms are switched on but none is named: name one, or switch them off")
    for name in alarms.alarms:
        if problem := _text_problem(name, _ALARM_NAME):
            raise Invalid(reason, f"alarm {names.shown(name)} is not valid: its name {problem}")
    if twice := _repeated(alarms.alarms):
        raise Invalid(reason, f"alarm {names.shown(twice)} is listed twice: leave one of them out")


def _check_auto_scaling_groups(listed: Sequence[str], limits: Limits) -> None:
    """CP-051, CP-169. Names that no instance has announced yet are accepted: it may be launched later."""
    reason = "InvalidAutoScalingGroupException"
    if len(listed) > limits.auto_scaling_groups_per_group:
        raise Invalid(
            reason,
            f"{len(listed)} autoscaling groups are given, at most {limits.auto_scaling_groups_per_group} are allowed:"
            " leave some out, or raise limits.auto_scaling_groups_per_group in the coordinator's configuration",
        )
    for name in listed:
        problem = _text_problem(name, _GROUP_NAME) or ("holds a colon" if ":" in name else "")
        if problem:
            raise Invalid(reason, f"autoscaling group {names.shown(name)} is not valid: its name {problem}")
    if twice := _repeated(listed):
        raise Invalid(
            reason, f"autoscaling group {names.shown(twice)} is listed twice: leave one of them out"
        )


def _check_style(style: DeploymentStyle, application: Application) -> None:
    """CP-015, CP-161, CP-162."""
    reason = "InvalidDeploymentStyleException"
    if application.compute_platform is not ComputePlatform.SERVER and style != _SHIFTED:
        raise Invalid(
            reason,
            f"application {application.name!r} is on {application.compute_platform}: its groups are {_SHIFTED.type} "
            f"{_SHIFTED.option}, not {style.type} {style.option}",
        )
    if style.type is DeploymentType.BLUE_GREEN and style.option is not DeploymentOption.WITH_TRAFFIC_CONTROL:
        raise Invalid(
            reason, f"{style.type} needs {DeploymentOption.WITH_TRAFFIC_CONTROL}, not {style.option}"
        )


def _check_load_balancers(options: GroupOptions, application: Application, limits: Limits) -> None:
    """CP-162, CP-163."""
    reason = "InvalidLoadBalancerInfoException"
    named = options.load_balancers
    for what, listed, most, setting in (
        ("load balancer", named.classic, limits.load_balancers_per_group, "load_balancers_per_group"),
        ("target group", named.target_groups, limits.target_groups_per_group, "target_groups_per_group"),
    ):
        if len(listed) > most:
            raise Invalid(
                reason,
                f"{len(listed)} {what}s are given, at most {most} are allowed: leave some out, or raise"
                f" limits.{setting} in the coordinator's configuration",
            )
        for name in listed:
            if problem := _text_problem(name, _LOAD_BALANCER_NAME):
                raise Invalid(reason, f"{what} {names.shown(name)} is not valid: its name {problem}")
        if twice := _repeated(listed):
            raise Invalid(reason, f"{what} {names.shown(twice)} is listed twice: leave one of them out")
    is_server = application.compute_platform is ComputePlatform.SERVER
    is_controlled = options.style.option is DeploymentOption.WITH_TRAFFIC_CONTROL
    if is_server and is_controlled and named == LoadBalancers():
        raise Invalid(
            reason,
            f"{options.style.option} needs a load balancer: name one or a target group, or choose "
            f"{DeploymentOption.WITHOUT_TRAFFIC_CONTROL}",
        )


def _check_blue_green(options: GroupOptions, application: Application) -> None:
    """CP-165 to CP-168."""
    settings = options.blue_green
    if settings is None:
        return
    problem = _blue_green_problem(settings, options, application)
    if problem:
        raise Invalid("InvalidBlueGreenDeploymentConfigurationException", problem)


def _blue_green_problem(settings: BlueGreen, options: GroupOptions, application: Application) -> str:
    if options.style.type is DeploymentType.IN_PLACE:
        return (
            f"blue/green options are for {DeploymentType.BLUE_GREEN} groups, this one is {options.style.type}: "
            "clear them"
        )
    for what, minutes in (
        ("for replacement instances", settings.ready_wait_minutes),
        ("before the originals are terminated", settings.termination_wait_minutes),
    ):
        if not 0 <= minutes <= WAIT_MINUTES:
            return f"the wait {what} is {minutes} minutes, it must be 0 to {WAIT_MINUTES}"
    if settings.green_provisioning is GreenProvisioning.COPY_AUTO_SCALING_GROUP:
        if application.compute_platform is not ComputePlatform.SERVER:
            return f"{settings.green_provisioning} is for Server, not for {application.compute_platform}"
        if len(options.auto_scaling_groups) != 1:
            return (
                f"{settings.green_provisioning} needs exactly one autoscaling group as its template, "
                f"{len(options.auto_scaling_groups)} are given"
            )
    return ""


def _check_triggers(triggers: Sequence[Trigger], limits: Limits) -> None:
    """CP section 8.3. Raises Invalid (InvalidTriggerConfigException), LimitExceeded."""
    if len(triggers) > limits.triggers_per_group:
        raise LimitExceeded(
            "TriggerTargetsLimitExceededException",
            f"{len(triggers)} triggers are given, at most {limits.triggers_per_group} are allowed: leave some out, or"
            " raise limits.triggers_per_group in the coordinator's configuration",
        )
    reason = "InvalidTriggerConfigException"
    for one in triggers:
        if problem := _trigger_problem(one):
            raise Invalid(reason, f"trigger {names.shown(one.name)} is not valid: {problem}")
    if twice := _repeated(one.name for one in triggers):
        raise Invalid(reason, f"two triggers are called {names.shown(twice)}: give one another name")


def _trigger_problem(trigger: Trigger) -> str:
    if problem := _text_problem(trigger.name, _TRIGGER_NAME):
        return f"its name {problem}"
    if not _ARN.fullmatch(trigger.target_arn):
        return f"its target {names.shown(trigger.target_arn)} is no ARN, such as arn:aws:sns:eu-1:123456789012:deploys"
    if not trigger.events:
        return "no event is given: name at least one, such as DeploymentFailure"
    return ""


def _text_problem(text: str, longest: int) -> str:
    """What is wrong with a name, as the rest of a sentence; empty when nothing is."""
    if not text or text.isspace():
        return "is empty"
    if len(text) > longest:
        return f"has {len(text)} characters, at most {longest} are allowed"
    return "" if text.isprintable() else "holds a character that cannot be printed"


def _repeated(texts: Iterable[str]) -> str:
    return next((text for text, count in Counter(texts).items() if count > 1), "")
