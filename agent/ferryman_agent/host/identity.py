"""Who this agent is: key, certificate, the CAs it trusts and where its coordinator is, in one private file.

One file, so that a key and the certificate for it can only be replaced together.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ferryman_agent import __version__
from ferryman_agent.core.messages import Instant
from ferryman_agent.errors import IdentityError
from ferryman_agent.files.plain import open_plain
from ferryman_agent.system import fs

AGENT_METADATA = (("ferryman-agent-version", __version__),)
"""Goes with every call (AG-032), so that a coordinator can refuse a version before it reads a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """`private_key`, `certificate_chain` (leaf first) and `ca_certificates` are PEM; `agents_port` is of `host`."""

    instance_id: str
    instance_name: str
    host: str
    agents_port: int
    private_key: str
    certificate_chain: str
    ca_certificates: str
    issued_at: Instant
    expires_at: Instant

    def __repr__(self) -> str:
        return f"Identity({self.instance_id!r} at {self.address})"

    @property
    def address(self) -> str:
        """Where the agent's stream goes, `host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.agents_port}"

    @property
    def renew_at(self) -> Instant:
        """Two thirds of the certificate's lifetime."""
        return Instant(self.issued_at + (self.expires_at - self.issued_at) * 2 // 3)


def load(path: Path) -> Identity:
    """Returns the identity. Raises IdentityError: not enrolled, readable for others (AG-082), broken."""
    try:
        descriptor = open_plain(path)
    except FileNotFoundError:
        raise IdentityError(
            f"this agent is not enrolled: there is no {path}; run `ferryman-agent enroll`"
        ) from None
    except OSError as error:
        raise IdentityError(f"cannot read the identity {path}: {error.strerror}") from error
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        mode = stat.S_IMODE(fs.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise IdentityError(
                f"the identity {path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`, "
                "and enroll again if somebody may have taken it"
            )
        return _parse(file.read(), path)


def require_room(path: Path) -> None:
    """Raises IdentityError where no identity could be saved: better before a join token is spent than after."""
    trial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            trial.write_bytes(bytes(_ROOM_BYTES))
        finally:
            trial.unlink(missing_ok=True)
    except OSError as error:
        raise IdentityError(f"cannot write the identity {path}: {error.strerror}") from error


def save(identity: Identity, path: Path) -> None:
    """Writes the identity, atomically and with mode 0600. Raises IdentityError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        descriptor = fs.open(temporary, fs.O_WRONLY | fs.O_CREAT | fs.O_EXCL | fs.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            fs.fchmod(descriptor, 0o600)
            json.dump(asdict(identity), file, indent=2)
            file.flush()
            fs.fsync(descriptor)
        fs.replace(temporary, path)
        folder = fs.open(path.parent, fs.O_RDONLY | fs.O_CLOEXEC)
        try:
            fs.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise IdentityError(f"cannot write the identity {path}: {error.strerror}") from error


def _parse(text: str, path: Path) -> Identity:
    try:
        values = json.loads(text)
        known = {field.name: values[field.name] for field in fields(Identity)}
        are_right = all(
            isinstance(value, int if name in _NUMBERS else str) and value for name, value in known.items()
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        are_right, known = False, {}
    if not are_right:
        raise IdentityError(f"the identity {path} is broken: enroll again with a new join token")
    return Identity(**known)


_ROOM_BYTES = 16 * 1024
_NUMBERS = ("agents_port", "issued_at", "expires_at")
