"""The identity file of a machine that no cloud vouches for: the original's two shapes, and ours (AG section 2.3).

The original's file says who this machine is for the CodeDeploy API. Ferryman's own identity comes from `enroll`, which
takes from our shape what would else be options.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from ferryman_agent.config.values import Secret
from ferryman_agent.errors import IdentityError
from ferryman_agent.system import fs, pwd

_SIZE_LIMIT = 1 << 16
_ARN = re.compile(r"arn:[a-z0-9-]+:(?:iam|sts)::\d{12}:[\w+=,.@/-]{1,600}", re.ASCII)
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d{1,2}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserIdentity:
    """`iam_user_arn` with a key pair of its own."""

    arn: str
    access_key_id: str
    secret_access_key: Secret
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIdentity:
    """`iam_session_arn` with keys that somebody refreshes in a file."""

    arn: str
    credentials_file: Path
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnIdentity:
    """Ours (AG-081): either certificate and key, or a join token, there or in a file.

    `ca_file` is None with a token that stands there, since a token names the CA.
    """

    host_name: str
    coordinator: str
    ca_file: Path | None = None
    join_token: Secret | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    join_token_file: Path | None = None


OnPremises = UserIdentity | SessionIdentity | OwnIdentity

_USER, _SESSION = "iam_user_arn", "iam_session_arn"
_COMPANIONS = {
    _USER: ("aws_access_key_id", "aws_secret_access_key", "region"),
    _SESSION: ("aws_credentials_file", "region"),
}
_OWN = ("host_name", "coordinator", "ca_file")
_OWN_WAYS = ("cert_file", "key_file", "join_token_file")
_OWN_TOKEN = "join_token"  # noqa: S105  # the name of the key
_PATHS = ("aws_credentials_file", "ca_file", *_OWN_WAYS)
KEYS = frozenset((*_COMPANIONS, *sum(_COMPANIONS.values(), ()), *_OWN, *_OWN_WAYS, _OWN_TOKEN))


def load(path: Path, user: str = "") -> OnPremises | None:
    """Returns what the file says, None where there is none. Raises IdentityError: unreadable, open to others, wrong.

    A file that is there and cannot be read is no missing one (V2-353): taking another identity quietly helps nobody.
    """
    content = read_private(path, "identity file", user)
    return None if content is None else parse(content, path)


def parse(content: bytes, path: Path) -> OnPremises:
    """Returns what the text says; `path` is for the messages. Raises IdentityError, which shows no value."""
    values = _values(content, path)
    is_ours = any(key in values for key in (*_OWN, *_OWN_WAYS, _OWN_TOKEN))
    shapes = [key for key in _COMPANIONS if key in values] + (["host_name"] if is_ours else [])
    if len(shapes) > 1:
        raise IdentityError(
            f"the identity file {path} has both {' and '.join(shapes)}: it can say one identity only, so remove one"
        )
    if is_ours:
        return _own(values, path)
    if not shapes:
        raise IdentityError(
            f"the identity file {path} names no identity: give iam_user_arn with aws_access_key_id and"
            " aws_secret_access_key, or iam_session_arn with aws_credentials_file, or host_name with coordinator"
        )
    return _original(shapes[0], values, path)


def read_private(path: Path, what: str, user: str = "") -> bytes | None:
    """Returns the content of a file with secrets, None where there is none. Raises IdentityError (AG-082, V2-343).

    It belongs to root, to whom this process runs as, or to `user`, which is the agent's.
    """
    try:
        descriptor = fs.open(path, fs.O_RDONLY | fs.O_CLOEXEC | fs.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = fs.fstat(descriptor)
            content = file.read(_SIZE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise IdentityError(f"cannot read the {what} {path}: {error.strerror}") from error
    if status.st_uid not in (0, fs.geteuid()) and _name(status.st_uid) != user:
        raise IdentityError(f"the {what} {path} belongs to user {status.st_uid}: run `chown root {path}`")
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise IdentityError(
            f"the {what} {path} is open to others (mode {mode:04o}): run `chmod 600 {path}`, and replace what is in it"
            " if somebody may have taken it"
        )
    if len(content) > _SIZE_LIMIT:
        raise IdentityError(f"the {what} {path} is larger than 64 KiB, so it is none")
    return content


def _name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _values(content: bytes, path: Path) -> Mapping[str, str]:
    try:
        found = yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:
        # The parser's own text may show a piece of the file.
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise IdentityError(f"the identity file {path} is no YAML{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
        raise IdentityError(f"the identity file {path} is no YAML") from None
    if not isinstance(found, Mapping):
        raise IdentityError(f"the identity file {path} must hold names and values (name: value)")
    values = {str(name).removeprefix(":"): value for name, value in found.items()}
    for name in sorted(KEYS & values.keys()):
        if not isinstance(values[name], str) or not values[name].strip() or not values[name].isprintable():
            raise IdentityError(
                f"the identity file {path}: {name} must be text, and not empty; quote it if it is a number"
            )
        if name in _PATHS and not Path(values[name]).is_absolute():
            raise IdentityError(f"the identity file {path}: {name} must be an absolute path")
    return {name: values[name].strip() for name in KEYS & values.keys()}


def _original(shape: str, values: Mapping[str, str], path: Path) -> OnPremises:
    _demand(_COMPANIONS[shape], shape, values, path)
    if not _ARN.fullmatch(values[shape]):
        raise IdentityError(f"the identity file {path}: {shape} is no ARN of an IAM user or session")
    if not _REGION.fullmatch(values["region"]):
        raise IdentityError(f"the identity file {path}: region is no name such as eu-central-1")
    if shape == _SESSION:
        return SessionIdentity(
            arn=values[shape],
            credentials_file=Path(values["aws_credentials_file"]),
            region=values["region"],
        )
    return UserIdentity(
        arn=values[shape],
        access_key_id=values["aws_access_key_id"],
        secret_access_key=Secret(values["aws_secret_access_key"]),
        region=values["region"],
    )


def _own(values: Mapping[str, str], path: Path) -> OwnIdentity:
    tokens = [key for key in ("join_token_file", _OWN_TOKEN) if key in values]
    has_pair = "cert_file" in values or "key_file" in values
    ways = [*tokens, "cert_file or key_file"] if has_pair else tokens
    _demand(_OWN[:2] if tokens == [_OWN_TOKEN] else _OWN, "host_name", values, path)
    if len(ways) > 1:
        raise IdentityError(f"the identity file {path} has both {' and '.join(ways)}: remove one of them")
    if not ways:
        raise IdentityError(
            f"the identity file {path}: host_name needs cert_file and key_file, or join_token_file, or join_token"
            " beside it"
        )
    if has_pair:
        _demand(("cert_file", "key_file"), "host_name with a certificate", values, path)
    paths = {name: Path(values[name]) for name in _OWN_WAYS if name in values}
    return OwnIdentity(
        host_name=values["host_name"],
        coordinator=values["coordinator"],
        ca_file=Path(values["ca_file"]) if "ca_file" in values else None,
        join_token=Secret(values[_OWN_TOKEN]) if _OWN_TOKEN in values else None,
        **paths,
    )


def _demand(keys: tuple[str, ...], shape: str, values: Mapping[str, str], path: Path) -> None:
    missing = [key for key in keys if key not in values]
    if missing:
        raise IdentityError(f"the identity file {path}: {shape} needs {' and '.join(missing)} beside it")
