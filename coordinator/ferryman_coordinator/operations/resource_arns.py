"""ARNs of applications and deployment groups: how they are made, and read back (CP-022, CP-023)."""

from __future__ import annotations

import re

from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.arns import Account

_LENGTH = 1_011
_APPLICATION = "application:"
_GROUP = "deploymentgroup:"
_OTHERS = ("deploymentconfig:", "instance/")
_FORM = re.compile(r"arn:[a-z-]+:codedeploy:([^:]*):([^:]*):(.+)", re.DOTALL)


def application_arn(account: Account, application_name: str) -> str:
    return f"{_prefix(account)}{_APPLICATION}{application_name}"


def group_arn(account: Account, application_name: str, group_name: str) -> str:
    return f"{_prefix(account)}{_GROUP}{application_name}/{group_name}"


def config_arn(account: Account, name: str) -> str:
    return f"{_prefix(account)}deploymentconfig:{name}"


def parse(arn: str, account: Account) -> tuple[str, str]:
    """Names of the application and of the group, the second empty for an application's ARN.

    `:` and `/` are matched as they stand (CP-023). Raises Invalid: ResourceArnRequiredException, InvalidArnException,
    and ArnNotSupportedException for resources that hold no tags (CP-146).
    """
    if not arn:
        raise Invalid("ResourceArnRequiredException", "the ARN of the resource is missing: give one")
    if len(arn) > _LENGTH:
        raise _invalid(arn, f"it has {len(arn)} characters, at most {_LENGTH} are allowed")
    form = _FORM.fullmatch(arn)
    if form is None:
        raise _invalid(
            arn, f"write {application_arn(account, 'NAME')} or {group_arn(account, 'NAME', 'GROUP')}"
        )
    region, account_id, resource = form.groups()
    if (region, account_id) != (account.region, account.account_id):
        raise _invalid(arn, f"here the region is {account.region} and the account {account.account_id}")
    if resource.startswith(_APPLICATION):
        return resource.removeprefix(_APPLICATION), ""
    application_name, slash, group_name = resource.removeprefix(_GROUP).partition("/")
    if resource.startswith(_GROUP) and slash and application_name and group_name:
        return application_name, group_name
    if resource.startswith(_OTHERS):
        raise Invalid(
            "ArnNotSupportedException",
            f"{names.shown(arn)} cannot be tagged: only applications and deployment groups can;"
            " tags of an instance are set with `ferryman instance tag`",
        )
    raise _invalid(arn, f"what comes after the account is {_APPLICATION}NAME or {_GROUP}NAME/GROUP")


def _prefix(account: Account) -> str:
    return f"arn:aws:codedeploy:{account.region}:{account.account_id}:"


def _invalid(arn: str, problem: str) -> Invalid:
    return Invalid(
        "InvalidArnException", f"{names.shown(arn)} is no ARN of an application or group: {problem}"
    )
