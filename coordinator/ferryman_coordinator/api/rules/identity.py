"""Users, rights and the audit log; and the calls of agents, which need none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ferryman_coordinator.api.rules.needs import (
    Need,
    OwnerOf,
    Rule,
    by_name,
    for_everybody,
    listed,
    need,
    on,
    rule,
)
from ferryman_coordinator.core import resources
from ferryman_coordinator.core.resources import EVERYTHING, Resource
from ferryman_coordinator.core.rights import FERRYMAN

# Users and rights -----------------------------------------------------------------------------------------------------


def _granted_role(request: Any) -> Need:
    """On the user and on the role, so that whoever hands out roles can be limited to some of them."""
    return need(f"{FERRYMAN}GrantRole", resources.role(request.role))


def _user(field: str = "user") -> Callable[[Any], Resource]:
    """An empty name stands for all of them."""
    return lambda request: resources.user(getattr(request, field) or EVERYTHING)


def _on_user(action: str, field: str = "user") -> Rule:
    return rule(FERRYMAN + action, on(FERRYMAN + action, _user(field)))


def _of_owner(action: str, field: str) -> Rule:
    return rule(FERRYMAN + action, on(FERRYMAN + action, lambda request: OwnerOf(getattr(request, field))))


IDENTITY = {
    "WhoAmI": for_everybody("WhoAmI", is_reading=True),
    "CreateSession": for_everybody("CreateSession", is_reading=False),
    "CheckAccess": rule(
        f"{FERRYMAN}CheckAccess",
        lambda request: (
            need(f"{FERRYMAN}CheckAccess", resources.user(request.user)) if request.user else None
        ),
    ),
    "CreateUser": _on_user("CreateUser", "name"),
    "GetUser": _on_user("GetUser", "name"),
    "ListUsers": listed(f"{FERRYMAN}ListUsers", "users", lambda item, _: resources.user(item.name)),
    "UpdateUser": _on_user("UpdateUser", "name"),
    "DeleteUser": _on_user("DeleteUser", "name"),
    "GrantRole": rule(f"{FERRYMAN}GrantRole", on(f"{FERRYMAN}GrantRole", _user()), _granted_role),
    "RevokeRole": _on_user("RevokeRole"),
    "PutRole": by_name(f"{FERRYMAN}PutRole", resources.role),
    "GetRole": by_name(f"{FERRYMAN}GetRole", resources.role),
    "ListRoles": listed(f"{FERRYMAN}ListRoles", "roles", lambda item, _: resources.role(item.name)),
    "DeleteRole": by_name(f"{FERRYMAN}DeleteRole", resources.role),
    "CreateAccessToken": _on_user("CreateAccessToken"),
    "ListAccessTokens": _on_user("ListAccessTokens"),
    "RevokeAccessToken": _of_owner("RevokeAccessToken", "token_id"),
    "CreateAccessKey": _on_user("CreateAccessKey"),
    "ListAccessKeys": _on_user("ListAccessKeys"),
    "UpdateAccessKey": _of_owner("UpdateAccessKey", "access_key_id"),
    "DeleteAccessKey": _of_owner("DeleteAccessKey", "access_key_id"),
}


def _audit(_request: Any) -> Resource:
    return resources.every(resources.AUDIT)


AUDIT = {
    "ListAuditRecords": rule(f"{FERRYMAN}ListAuditRecords", on(f"{FERRYMAN}ListAuditRecords", _audit)),
    "VerifyAudit": rule(f"{FERRYMAN}VerifyAudit", on(f"{FERRYMAN}VerifyAudit", _audit)),
}

# Agents: by certificate or join token, never by rights (CP-439) -------------------------------------------------------

AGENTS = {
    "Enrol": for_everybody("EnrolInstance", is_reading=False),
    "RenewCertificate": for_everybody("RenewCertificate", is_reading=False),
    "FetchBundle": Rule(
        event="FetchBundle", actions=(), needs=lambda _request: (), is_read=True, is_recorded=False
    ),
    "Connect": Rule(event="Connect", actions=(), needs=lambda _request: (), is_read=True, is_recorded=False),
}

SELF_SERVICE = frozenset(
    FERRYMAN + operation
    for operation in (
        "GetUser",
        "CheckAccess",
        "ListAccessTokens",
        "RevokeAccessToken",
        "ListAccessKeys",
        "DeleteAccessKey",
    )
)
"""What everybody may on themselves, with a credential that is not limited."""
