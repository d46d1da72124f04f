"""What the coordinator refuses, and why.

FerrymanError
├── Refused                cannot be granted; `reason` is stable: CodeDeploy's exception name where there is one
│   ├── Invalid            the request itself is wrong
│   ├── NotFound           names something that does not exist
│   ├── Conflict           exists already, is in use, or is in the wrong state
│   ├── LimitExceeded      a quota is reached
│   ├── Unauthenticated    no identity, or one that cannot be believed
│   ├── Denied             the identity may not do this
│   └── Unreachable        somebody else, such as an object store, cannot be asked now; trying again can help
├── StoreUnavailable       the database cannot be reached or written; trying again can help
│   └── RecordUnavailable  only the audit record of a change that was made cannot be written yet
├── ConstraintBroken       the store refused a batch because of a named constraint
├── NotMatched             the store refused a batch because a row is not as expected
├── StreamEnded            the coordinator ends an agent's stream; connecting again helps
├── SetupError             the coordinator cannot start as configured
└── InvariantBroken        the core met a contradiction; carries the story of the object
"""

from __future__ import annotations

from collections.abc import Mapping


class FerrymanError(Exception):
    """Base of everything that the coordinator raises on purpose."""

    is_retryable = False


class Refused(FerrymanError):
    """A request that cannot be granted. Nothing was changed.

    `reason` is for programs and never changes, `message` is for people and names the thing and the way out, `details`
    are named facts such as the id of the deployment that stands in the way.
    """

    def __init__(self, reason: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.details: Mapping[str, str] = details


class Invalid(Refused):
    """The request itself is wrong."""


class NotFound(Refused):
    """It names something that does not exist."""


class Conflict(Refused):
    """It exists already, is in use, or is in the wrong state."""


class LimitExceeded(Refused):
    """A quota is reached."""


class Unauthenticated(Refused):
    """There is no identity, or one that cannot be believed."""


class Denied(Refused):
    """The identity may not do this."""


class Unreachable(Refused):
    """Somebody else who must be asked for this does not answer."""

    is_retryable = True


class StoreUnavailable(FerrymanError):
    """The database cannot be reached or written."""

    is_retryable = True


class RecordUnavailable(StoreUnavailable):
    """What was asked for is done and stored; its audit record will be."""


class StreamEnded(FerrymanError):
    """The coordinator ends an agent's stream, for a reason that is no fault of the agent; it may connect again."""

    is_retryable = True


class SetupError(FerrymanError):
    """The coordinator cannot start as it is configured; the message says what to change."""


class ConstraintBroken(FerrymanError):
    """The store refused a batch, and stored nothing of it; `name` is that of the constraint or guard."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the store refused a write: it breaks {name}")
        self.name = name


class NotMatched(FerrymanError):
    """An update met another number of rows than it expected, and nothing of its batch was stored."""

    def __init__(self, table: str) -> None:
        super().__init__(f"the store refused a write: a row of {table} is not as it was expected to be")
        self.table = table
