"""The differences between the kinds of places that revisions come from: S3, GitHub, any other address."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from ferryman_agent.bundles.address import shown_url
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.route import Route
from ferryman_agent.bundles.wanted import Attempt
from ferryman_agent.core.messages import BundleType, DeploymentDescription, RevisionSource
from ferryman_agent.errors import BundleError

GITHUB_PAUSES = (10.0, 30.0, 90.0)
"""The original's (AG-232, V2-056)."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def request_for(
    deployment: DeploymentDescription, bundle: Path, route: Route, limits: BundleLimits, sha256: str | None
) -> Attempt:
    """Returns what to ask for. Raises BundleError for what its source cannot give (AG-229)."""
    source = deployment.revision
    if source.github is not None and source.bundle_type is BundleType.TGZ:
        message = f"cannot fetch {label_of(source)}: GitHub packs as tar or zip, not as {source.bundle_type}"
        raise BundleError("BUNDLE_TYPE", message)
    if not source.url:
        message = (
            "the revision says nothing of where it is: neither a bundle nor an address, an object or a commit"
        )
        raise BundleError("BUNDLE_URL", message)
    return Attempt(
        url=source.url,
        label=label_of(source),
        destination=str(bundle),
        route=route,
        limits=limits,
        secrets=deployment.download_headers,
        credential=_credential(deployment),
        sha256=sha256,
        size_bytes=source.size_bytes,
        wanted_etag=source.s3.etag if source.s3 is not None else "",
        wanted_version=source.s3.version if source.s3 is not None else "",
    )


def label_of(source: RevisionSource) -> str:
    """Returns what people call a revision, and where it is asked for, with nothing secret in it (AG-223)."""
    place = shown_url(source.url)
    if source.s3 is not None:
        version = f" (version {source.s3.version})" if source.s3.version else ""
        return f"s3://{source.s3.bucket}/{source.s3.key}{version} from {_host(place)}"
    if source.github is not None:
        return f"commit {source.github.commit_id} of {source.github.repository} from {place}"
    return place


def identity_of(source: RevisionSource) -> str:
    """Returns a text that names the bytes of a bundle for good; "" where nothing does."""
    if source.s3 is not None and (source.s3.version or source.s3.etag):
        one = source.s3
        return f"s3 {[_host(shown_url(source.url)), one.bucket, one.key, one.version, one.etag]}"
    # A branch, or HEAD, is another commit tomorrow: local deployments ask for such (AG-495).
    if source.github is not None and _COMMIT.fullmatch(source.github.commit_id):
        one_commit = source.github
        place = _host(shown_url(source.url))
        kind = str(source.bundle_type)
        return f"github {[place, one_commit.repository, one_commit.commit_id, kind]}"
    return ""


def pauses_of(source: RevisionSource, limits: BundleLimits) -> tuple[float, ...]:
    """Returns the seconds to wait before each retry."""
    return GITHUB_PAUSES if source.github is not None else limits.retry_pauses


def _credential(deployment: DeploymentDescription) -> str:
    if not deployment.download_headers:
        return ""
    github = deployment.revision.github
    name = f" {github.token_name!r}" if github is not None and github.token_name else ""
    return f"the coordinator's stored token{name}"


def _host(url: str) -> str:
    return urlsplit(url).netloc
