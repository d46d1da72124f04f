"""Named coordinators: address, CA and token, in one YAML file of the user's.

Order of precedence: an explicit profile name, then FERRYMAN_COORDINATOR with FERRYMAN_TOKEN and FERRYMAN_CA, then the
profile that is in use, then a coordinator on this machine whose data directory this user may read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from ferryman_client.errors import ProfileError

DEFAULT_COORDINATOR = "127.0.0.1:7420"
_LAST_PORT = 65_535


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a coordinator is and who we are there. Secrets are file paths; `token` is set from the environment only."""

    coordinator: str
    ca_file: str
    token_file: str = ""

    def address(self) -> str:
        """Returns HOST:PORT; raises ProfileError when it is none. Without a port gRPC would try 443."""
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
            raise ProfileError(f"'{self.coordinator}' is no address of a coordinator: write HOST:PORT")
        return self.coordinator

    def ca(self) -> bytes:
        """Returns the PEM text of the CA; raises ProfileError when it cannot be read or is none."""
        content = _read(self.ca_file, "CA file")
        if b"-----BEGIN CERTIFICATE-----" not in content:
            raise ProfileError(f"{self.ca_file} holds no certificate (PEM): name the coordinator's ca.pem")
        return content

    def token(self) -> str:
        """Returns the bearer token; raises ProfileError when it cannot be read or cannot be one."""
        if text := os.environ.get("FERRYMAN_TOKEN"):
            return _checked_token(text.strip(), "FERRYMAN_TOKEN")
        if not self.token_file:
            raise ProfileError("no token: set FERRYMAN_TOKEN, or give the profile a --token-file")
        content = _read(self.token_file, "token file").decode("ascii", "replace").strip()
        return _checked_token(content, self.token_file)


class ProfileFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's content."""

    current: str = ""
    profiles: dict[str, Profile] = {}


def profiles_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns where the profiles of this user are kept."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "ferryman" / "profiles.yaml"


def load_profiles(path: Path) -> ProfileFile:
    """Returns the profiles in the file, none when there is no file; raises ProfileError when it cannot be used."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ProfileFile()
    except OSError as problem:
        raise ProfileError(f"cannot read {path}: {problem.strerror}") from problem
    try:
        return msgspec.convert(yaml.safe_load(text) or {}, ProfileFile)
    except (yaml.YAMLError, msgspec.ValidationError) as problem:
        raise ProfileError(f"cannot use {path}: {problem}") from problem


def save_profiles(path: Path, content: ProfileFile) -> None:
    """Writes the file whole or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = yaml.safe_dump(msgspec.to_builtins(content), sort_keys=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".profiles")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def current_profile(name: str = "", environ: Mapping[str, str] = os.environ) -> Profile:
    """Returns the profile to use, by the order of precedence above; raises ProfileError when there is none."""
    path = profiles_path(environ)
    if not name and (address := environ.get("FERRYMAN_COORDINATOR")):
        ca_file = environ.get("FERRYMAN_CA", "")
        if not ca_file:
            raise ProfileError(
                "FERRYMAN_COORDINATOR is set but FERRYMAN_CA is not: name the coordinator's ca.pem"
            )
        return Profile(coordinator=address, ca_file=ca_file)
    content = load_profiles(path)
    wanted = name or content.current
    if wanted:
        try:
            return content.profiles[wanted]
        except KeyError:
            known = ", ".join(sorted(content.profiles)) or "none"
            raise ProfileError(f"there is no profile '{wanted}' in {path} (known: {known})") from None
    if (local := _local_profile(environ)) is not None:
        return local
    raise ProfileError(
        "no coordinator is configured: `ferryman profile add NAME --coordinator HOST:7420 --ca-file ca.pem "
        "--token-file admin.token`, or set FERRYMAN_COORDINATOR, FERRYMAN_CA and FERRYMAN_TOKEN"
    )


def _local_profile(environ: Mapping[str, str]) -> Profile | None:
    """Returns a profile for a coordinator of this machine with default settings, if its token can be read."""
    home = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    for directory in (Path("/var/lib/ferryman"), Path(home) / "ferryman"):
        token, authority = directory / "admin.token", directory / "ca.pem"
        if os.access(token, os.R_OK) and os.access(authority, os.R_OK):
            return Profile(coordinator=DEFAULT_COORDINATOR, ca_file=str(authority), token_file=str(token))
    return None


def _checked_token(text: str, where: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ProfileError(f"{where} holds no token: one is a single line of letters, digits and hyphens")
    return text


def _read(path: str, what: str) -> bytes:
    if not path:
        raise ProfileError(f"the profile names no {what}")
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as problem:
        raise ProfileError(f"cannot read the {what} {path}: {problem.strerror}") from problem
