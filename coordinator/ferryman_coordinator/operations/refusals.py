"""How a caller is told that it may not: the action, the resource, and what to ask an administrator for."""

from __future__ import annotations

from collections.abc import Sequence

from ferryman_coordinator.core.resources import EVERYTHING, in_account
from ferryman_coordinator.core.rights import Cause, Verdict
from ferryman_coordinator.core.roles import smallest_role
from ferryman_coordinator.core.users import Caller
from ferryman_coordinator.errors import Denied
from ferryman_coordinator.operations.arns import Account

REASON = "AccessDeniedException"


def refused(
    caller: Caller, actions: Sequence[str], resource: str, verdict: Verdict, account: Account
) -> Denied:
    """`actions`: any one of them would have done; the first is the one to ask for."""
    arn = in_account(resource, account.region, account.account_id)
    what = " or ".join(actions)
    return Denied(
        REASON,
        f"{caller.name!r} may not {what} on {arn}: {explained(caller.name, actions[0], resource, verdict)}",
        action=actions[0],
        resource=arn,
    )


def refused_unknown(caller: Caller, action: str, thing: str) -> Denied:
    """For what is named by an id: that it does not exist is told to nobody who may not see all that do."""
    return Denied(
        REASON,
        f"{caller.name!r} may not {action} on {thing}, or there is no such thing: ask an administrator for role"
        f" {smallest_role(action)} on what it belongs to",
        action=action,
    )


def explained(user_name: str, action: str, resource: str, verdict: Verdict) -> str:
    """Why, and the way out."""
    match verdict.cause:
        case Cause.ALLOWED:
            return f"{verdict.origin} allows it"
        case Cause.DENIED:
            return (
                f"{verdict.origin} forbids it, whatever allows it: ask an administrator to change that role"
            )
        case Cause.OUT_OF_SCOPE:
            return (
                "the user may, but this token or access key is limited to other actions or resources:"
                " use one that is not"
            )
        case Cause.NOT_ALLOWED:
            on = "" if resource == EVERYTHING else f" --on '{resource}'"
            return (
                "no role allows it; an administrator can grant one:"
                f" `ferryman role grant {smallest_role(action)} --user {user_name}{on}`"
            )
