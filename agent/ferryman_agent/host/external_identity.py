"""What the identity file says about this machine, for `status`, `doctor` and `enroll`; a fault in it is a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ferryman_agent.errors import IdentityError
from ferryman_agent.host import file_credentials, on_premises
from ferryman_agent.host.on_premises import OnPremises, OwnIdentity, SessionIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentity:
    """`host_identifier` is the ARN of the file (AG-079), `region` the one that it gives; None: there is none."""

    path: Path
    found: OnPremises | None
    problem: str | None = None

    @property
    def host_identifier(self) -> str | None:
        if self.found is None or isinstance(self.found, OwnIdentity):
            return None
        return self.found.arn

    @property
    def region(self) -> str | None:
        return getattr(self.found, "region", None)

    @property
    def name(self) -> str:
        """What to call the instance unless somebody says: our `host_name`, or the last part of the ARN."""
        if isinstance(self.found, OwnIdentity):
            return self.found.host_name
        return self.host_identifier.rpartition("/")[2] if self.host_identifier else ""


def look(path: Path, user: str = "") -> ExternalIdentity:
    """Reads the identity file, and the keys that it points at; `user` may own them. Never raises."""
    found: OnPremises | None = None
    try:
        found = on_premises.load(path, user)
        if isinstance(found, SessionIdentity):
            file_credentials.read(found.credentials_file, user)
    except IdentityError as error:
        return ExternalIdentity(path=path, found=found, problem=str(error))
    return ExternalIdentity(path=path, found=found)
