"""Where to fetch a revision that is not on this machine, and what to show there (V2-373, AG-501, AG-504)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ferryman_agent.core.messages import RevisionSource
from ferryman_agent.errors import AgentError
from ferryman_agent.host import file_credentials
from ferryman_agent.host.on_premises import SessionIdentity, UserIdentity, load
from ferryman_agent.local.location import Kind, Location
from ferryman_agent.local.presign import DEFAULT_REGION, Credentials, presigned

TOKEN_VARIABLES = ("FERRYMAN_GITHUB_TOKEN", "GITHUB_TOKEN")

Headers = tuple[tuple[str, str], ...]


class NoCredentials(AgentError):
    """An object in S3 cannot be asked for."""


def revision_of(
    location: Location,
    environment: Mapping[str, str],
    *,
    on_premises: Path | None = None,
    now: datetime | None = None,
) -> tuple[RevisionSource, Headers]:
    """Returns the revision and the secret headers for its download.

    `on_premises` is the machine's identity file of the original; its keys are taken where the environment has none.
    `now` is in UTC: when an address is signed. Raises NoCredentials, IdentityError.
    """
    url = location.place
    if location.kind is Kind.S3 and location.s3 is not None:
        credentials, region = _credentials(location, environment, on_premises)
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
        url = presigned(
            location.s3, credentials, now=now or datetime.now(UTC), region=region, endpoint=endpoint
        )
    source = RevisionSource(url=url, bundle_type=location.bundle_type, s3=location.s3, github=location.github)
    return source, github_headers(environment) if location.kind is Kind.GITHUB else ()


def github_headers(environment: Mapping[str, str]) -> Headers:
    """Returns the header with the token; none where there is no token, since public repositories need none."""
    token = next((environment[name] for name in TOKEN_VARIABLES if environment.get(name)), "").strip()
    return (("Authorization", f"token {token}"),) if token else ()


def _credentials(
    location: Location, environment: Mapping[str, str], on_premises: Path | None
) -> tuple[Credentials, str]:
    """Returns the keys, and the region to ask in."""
    get = environment.get
    region = get("AWS_REGION") or get("AWS_DEFAULT_REGION") or ""
    key, secret = get("AWS_ACCESS_KEY_ID", ""), get("AWS_SECRET_ACCESS_KEY", "")
    if key and secret:
        found = Credentials(access_key=key, secret_key=secret, token=get("AWS_SESSION_TOKEN", ""))
        return found, region or DEFAULT_REGION
    identity = load(on_premises) if on_premises else None
    match identity:
        case UserIdentity():
            found = Credentials(
                access_key=identity.access_key_id, secret_key=identity.secret_access_key.reveal()
            )
        case SessionIdentity():
            keys = file_credentials.read(identity.credentials_file)
            token = keys.session_token.reveal() if keys.session_token else ""
            found = Credentials(
                access_key=keys.access_key_id, secret_key=keys.secret_access_key.reveal(), token=token
            )
        case _:
            raise NoCredentials(
                f"cannot ask for {location.shown}: there are no credentials. Set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for temporary ones), or give a pre-signed https address "
                "of the object, or fetch it yourself and give its path"
            )
    return found, region or identity.region
