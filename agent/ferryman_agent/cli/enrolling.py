"""What `ferryman-agent enroll` does: checks the wishes, enrols, and leaves identity and configuration behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from ferryman_agent import wiring
from ferryman_agent.clock import SystemClock
from ferryman_agent.config import Config, load
from ferryman_agent.config.places import HOME_VARIABLE
from ferryman_agent.core.messages import Instant
from ferryman_agent.errors import ConfigError, IdentityError
from ferryman_agent.host import (
    enrolment,
    external_identity,
    facts,
    given_identity,
    identity,
    instance,
    provider_identity,
)
from ferryman_agent.host.identity import Identity
from ferryman_agent.host.on_premises import OwnIdentity, read_private
from ferryman_agent.runtime import mapping
from ferryman_agent.runtime.proxies import coordinator_proxy
from ferryman_agent.system import fs

CONFIG_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The options of the command. Empty text: not given."""

    token: str = ""
    coordinator: str = ""
    ca_fingerprint: str = ""
    ca_file: Path | None = None
    instance_name: str = ""
    tags: tuple[str, ...] = ()
    zone: str = ""
    # Of a cloud instance: the id that its provider gave it, and the provider that shall be asked for a document.
    provider_instance_id: str = ""
    provider: str = ""
    is_forced: bool = False
    config: Path | None = None


def enroll(wishes: Wishes, environment: Mapping[str, str]) -> str:
    """Makes this machine an instance; returns what to tell. Raises AgentError, and changes nothing then."""
    config = load(wishes.config, environment, must_exist=False).config
    wiring.become_user(config)
    wishes, given = _completed(wishes, Path(config.coordinator.on_premises_file))
    address = wishes.coordinator or config.coordinator.address
    if not address:
        raise IdentityError("no coordinator is given: use --coordinator host:port")
    order = _order(wishes, address, config, environment)
    former = _former(config, is_forced=wishes.is_forced)
    identity.require_room(config.identity_path)
    now = SystemClock().now()
    fresh = given_identity.take_over(given, now) if given else asyncio.run(enrolment.enrol(order, now))
    identity.save(fresh, config.identity_path)
    written = _write_config(wishes.config, config, address, environment)
    more = f"\nConfiguration written to {written}" if written else ""
    if former is not None and former.instance_id != fresh.instance_id:
        more += (
            f"\nThe former identity {former.instance_name} ({former.instance_id}) is not given up by this:"
            f" `ferryman instance deregister {former.instance_id}` takes it out of deployments"
        )
    return f"Enrolled as {fresh.instance_name} ({fresh.instance_id}) at {fresh.address}{more}"


def _completed(wishes: Wishes, path: Path) -> tuple[Wishes, OwnIdentity | None]:
    """Adds what the identity file says to what the options do not.

    Returns the file's own identity as well where no token is needed, since it has a certificate. Raises IdentityError.
    """
    external = external_identity.look(path)
    found = external.found
    if isinstance(found, OwnIdentity):
        wishes = replace(
            wishes,
            coordinator=wishes.coordinator or found.coordinator,
            ca_file=wishes.ca_file or (None if wishes.ca_fingerprint else found.ca_file),
            token=wishes.token or _token(found),
        )
    elif not wishes.token and not wishes.provider:
        if external.problem:
            raise IdentityError(external.problem)
        raise IdentityError(
            f"no join token is given: use --token, or name a join_token_file in the identity file {path}"
        )
    if not wishes.provider_instance_id and not wishes.provider:
        wishes = replace(wishes, instance_name=wishes.instance_name or external.name)
    return wishes, found if isinstance(found, OwnIdentity) and not wishes.token else None


def _token(own: OwnIdentity) -> str:
    path = own.join_token_file
    if path is None:
        return own.join_token.reveal() if own.join_token else ""
    content = read_private(path, "join token file")
    if content is None:
        raise IdentityError(f"cannot read the join token file {path}: there is no such file")
    return content.decode("ascii", errors="replace").strip()


def _order(
    wishes: Wishes, address: str, config: Config, environment: Mapping[str, str]
) -> enrolment.EnrolOrder:
    host, port = enrolment.parse_address(address)
    said = provider_identity.ask(wishes.provider, environment) if wishes.provider else None
    if said is not None and wishes.provider_instance_id not in ("", said.instance_id):
        raise IdentityError(
            f"this machine is {said.instance_id}, as its provider says, not {wishes.provider_instance_id!r}: leave"
            " --instance-id out"
        )
    return enrolment.EnrolOrder(
        host=host,
        port=port,
        token=wishes.token,
        facts=mapping.facts(facts.gather(config.root)),
        ca_pem=_read_ca(wishes.ca_file) if wishes.ca_file else None,
        ca_fingerprint=enrolment.parse_fingerprint(wishes.ca_fingerprint) if wishes.ca_fingerprint else None,
        instance_name=wishes.instance_name,
        zone=wishes.zone,
        proxy=coordinator_proxy(config, host),
        call_seconds=config.coordinator.call_timeout.seconds,
        tags=_tags(wishes.tags),
        provider_instance_id=said.instance_id if said else wishes.provider_instance_id,
        provider_identity=said,
    )


def _former(config: Config, *, is_forced: bool) -> Identity | None:
    """Returns the identity that is replaced. A running agent would go on as who it was; a valid identity is not
    thrown away by mistake: raises IdentityError."""
    holder = instance.find(config.pid_path)
    if holder is not None:
        raise IdentityError(f"the agent is running (PID {holder.pid}): stop it before you enroll it again")
    try:
        current = identity.load(config.identity_path)
    except IdentityError:
        return None
    if not is_forced and _is_valid(current, SystemClock().now()):
        raise IdentityError(
            f"this agent is enrolled already, as {current.instance_name} ({current.instance_id}) at "
            f"{current.address}: use --force to replace that identity"
        )
    return current


def _is_valid(current: Identity, now: Instant) -> bool:
    return now < current.expires_at


def _read_ca(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IdentityError(f"cannot read the CA file {path}: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise IdentityError(f"the CA file {path} holds no PEM certificate")
    return content


def _tags(texts: tuple[str, ...]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise IdentityError(f"{text!r} is not a tag: write KEY=VALUE")
        if key in tags:
            raise IdentityError(f"tag {key!r} is given twice")
        tags[key] = value
    return tags


def _write_config(
    path: Path | None, config: Config, address: str, environment: Mapping[str, str]
) -> Path | None:
    """Writes the configuration that was named, when there is none yet (DESIGN 2)."""
    if path is None or path.exists():
        return None
    content: dict[str, object] = {"coordinator": {"address": address}}
    if environment.get(HOME_VARIABLE):
        # So that the agent finds its files again when it is started without the variable.
        names = ("root_dir", "log_dir", "pid_dir", "state_dir")
        content = {name: getattr(config, name) for name in names} | content
    text = "# Written by ferryman-agent enroll.\n" + yaml.safe_dump(content, sort_keys=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = fs.open(path, fs.O_WRONLY | fs.O_CREAT | fs.O_EXCL | fs.O_CLOEXEC, CONFIG_MODE)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(
            f"the agent is enrolled, but its configuration {path} cannot be written: {error.strerror}"
        ) from error
    return path
