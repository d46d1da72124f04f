"""Registering an instance by name before its machine comes, from wherever the API is reached (CP section 4.1).

The registration holds the place; its machine enrols into it (`enrolment.py`). The ARN of a user or session is what
CodeDeploy's clients know the instance by: it is kept and unique, and proves nothing here. What proves is a certificate.
"""

from __future__ import annotations

import re

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.inventory import Instance, InstanceKind
from ferryman_coordinator.errors import Conflict, ConstraintBroken, Invalid
from ferryman_coordinator.ids import Ids
from ferryman_coordinator.operations import names
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.inventory_records import instance_row
from ferryman_coordinator.store.store import Store

_USER_ARN = re.compile(r"arn:aws[a-z-]{0,20}:iam::[0-9]{12}:user/[A-Za-z0-9_+=,.@/-]{1,576}")
_SESSION_ARN = re.compile(
    r"arn:aws[a-z-]{0,20}:sts::[0-9]{12}:assumed-role/[A-Za-z0-9_+=,.@-]{1,64}/[A-Za-z0-9_+=,.@-]{2,64}"
)


class Registration:
    """Registers names."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, limits: Limits, account: Account) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._account = account

    async def register(
        self, name: str, *, iam_user_arn: str = "", iam_session_arn: str = "", by_certificate: bool = False
    ) -> Instance:
        """A new registration without tags, whose machine is still to come (CP-074).

        Exactly one of the three says how it is known; `by_certificate`: by no ARN at all. Raises Invalid
        (InstanceNameRequiredException, InvalidInstanceNameException, IamArnRequiredException,
        MultipleIamArnsProvidedException, InvalidIamUserArnException, InvalidIamSessionArnException), Conflict
        (InstanceNameAlreadyRegisteredException, IamUserArnAlreadyRegisteredException,
        IamSessionArnAlreadyRegisteredException).
        """
        names.INSTANCE.check(name, self._limits)
        _check_arns(iam_user_arn, iam_session_arn, by_certificate=by_certificate)
        instance = Instance(
            instance_id=self._ids.instance_id(),
            name=name,
            kind=InstanceKind.ON_PREMISES,
            arn=self._account.instance_arn(name, self._ids.suffix()),
            tags=(),
            zone="",
            registered_at=self._clock.now(),
            iam_user_arn=iam_user_arn,
            iam_session_arn=iam_session_arn,
        )
        batch = Batch()
        batch.insert(tables.instances, instance_row(instance))
        try:
            await self._store.write(batch)
        except ConstraintBroken as broken:
            raise (_taken(broken.name, instance) or broken) from broken
        return instance


def _check_arns(user: str, session: str, *, by_certificate: bool) -> None:
    given = [
        what for what, is_given in (("an IAM user ARN", user), ("an IAM session ARN", session)) if is_given
    ]
    if by_certificate:
        given.append("identification by certificate only")
    if len(given) > 1:
        raise Invalid(
            "MultipleIamArnsProvidedException",
            f"a registration has one identity, this one has {' and '.join(given)}: leave all but one out",
        )
    if not given:
        raise Invalid(
            "IamArnRequiredException",
            "the identity is missing: give the ARN of an IAM user or session, or say that the instance identifies"
            " itself by its certificate only",
        )
    if user and not _USER_ARN.fullmatch(user):
        raise Invalid(
            "InvalidIamUserArnException",
            f"{names.shown(user)} is no ARN of an IAM user: one looks like arn:aws:iam::123456789012:user/name",
        )
    if session and not _SESSION_ARN.fullmatch(session):
        raise Invalid(
            "InvalidIamSessionArnException",
            f"{names.shown(session)} is no ARN of an IAM session: one looks like"
            " arn:aws:sts::123456789012:assumed-role/role/session",
        )


def _taken(constraint: str, instance: Instance) -> Conflict | None:
    match constraint:
        case tables.REGISTERED_NAME:
            return Conflict(
                "InstanceNameAlreadyRegisteredException",
                f"an instance called {instance.name!r} is registered already: choose another name, or free this one"
                f" with `ferryman instance deregister {instance.name}`",
            )
        case tables.IAM_USER:
            return Conflict(
                "IamUserArnAlreadyRegisteredException",
                f"another registered instance has the user {instance.iam_user_arn}: each needs a user of its own",
            )
        case tables.IAM_SESSION:
            return Conflict(
                "IamSessionArnAlreadyRegisteredException",
                f"another registered instance has the session {instance.iam_session_arn}: instances may share a role,"
                " each with a session name of its own",
            )
        case _:
            return None
