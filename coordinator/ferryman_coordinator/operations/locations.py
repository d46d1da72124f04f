"""Whether a revision can lie where it is said to: the form of each kind of location.

CP-195, CP-197, PF-288, PF-299.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

from ferryman.locations import bare_e_tag
from ferryman_coordinator.core.model import (
    BundleLocation,
    BundleType,
    GitHubLocation,
    RevisionLocation,
    S3Location,
    UrlLocation,
)
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.operations import names

_URL_LENGTH = 2048
_DIGEST = re.compile(r"[0-9a-f]{64}")
# As wide as the compatible stores are; Amazon's own rules are narrower.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_KEY_BYTES = 1024
_PIN_LENGTH = 1024
_NAME_LENGTH = 2400
"""Of all that identifies a revision, escaped: PostgreSQL's index takes 2,704 bytes, the application's id among them."""
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/[A-Za-z0-9_.-]{1,100}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_location(location: RevisionLocation | None) -> RevisionLocation:
    """`location` in its one form: digests and commits in lower case, an ETag without quotes (CP-201).

    Raises Invalid (RevisionRequiredException, InvalidRevisionException).
    """
    match location:
        case BundleLocation():
            return _bundle(replace(location, sha256=location.sha256.lower()))
        case UrlLocation():
            return _url(replace(location, sha256=location.sha256.lower()))
        case S3Location():
            e_tag = bare_e_tag(location.e_tag)
            return _s3(replace(location, sha256=location.sha256.lower(), e_tag=e_tag))
        case GitHubLocation():
            return _github(replace(location, commit_id=location.commit_id.lower()))
        case _:
            raise Invalid(
                "RevisionRequiredException",
                "the revision is missing: give a bundle, a URL, an S3 object or a commit",
            )


def check_token_name(name: str) -> str:
    """Raises Invalid (GitHubAccountTokenNameRequiredException, InvalidGitHubAccountTokenNameException)."""
    if not name:
        raise Invalid("GitHubAccountTokenNameRequiredException", "the name of the token is missing: give one")
    if not _TOKEN_NAME.fullmatch(name):
        raise Invalid(
            "InvalidGitHubAccountTokenNameException",
            f"{names.shown(name)} is no name of a token: use 1 to 100 letters, digits, dots, dashes and underscores",
        )
    return name


def check_filter(bucket: str, key_prefix: str) -> None:
    """Of a list of objects; empty: none. Raises Invalid (CP-204)."""
    if key_prefix and not bucket:
        raise Invalid(
            "BucketNameFilterRequiredException",
            "a key prefix says nothing without a bucket: give that, too",
        )
    if bucket and not _BUCKET.fullmatch(bucket):
        raise Invalid(
            "InvalidBucketNameFilterException",
            f"{names.shown(bucket)} is no name of a bucket: give 3 to 255 letters, digits, dots and dashes",
        )
    if len(key_prefix.encode("utf-8", "replace")) > _KEY_BYTES or not key_prefix.isprintable():
        raise Invalid(
            "InvalidKeyPrefixFilterException",
            f"{names.shown(key_prefix)} begins no key: one has at most {_KEY_BYTES} bytes, all of which can be printed",
        )


def invalid_location(message: str) -> Invalid:
    return Invalid("InvalidRevisionException", message)


def _bundle(location: BundleLocation) -> BundleLocation:
    if not location.sha256:
        raise invalid_location("the bundle has no digest: give its SHA-256")
    _check_digest(location.sha256)
    if location.size_bytes <= 0:
        raise invalid_location(
            f"bundle {location.sha256[:12]} has {location.size_bytes} bytes: no archive is that small"
        )
    return location


def _url(location: UrlLocation) -> UrlLocation:
    _check_digest(location.sha256)
    problem = _url_problem(location.url)
    if problem:
        raise invalid_location(f"URL {names.shown(location.url)} {problem}")
    return location


def _s3(location: S3Location) -> S3Location:
    _check_digest(location.sha256)
    if not _BUCKET.fullmatch(location.bucket) or ".." in location.bucket:
        raise invalid_location(
            f"{names.shown(location.bucket)} is no name of a bucket: give 3 to 255 letters, digits, dots and dashes"
        )
    key = location.object_key
    if not key or len(key.encode("utf-8", "replace")) > _KEY_BYTES:
        raise invalid_location(
            f"the key of an object in {location.bucket} has 1 to {_KEY_BYTES} bytes, "
            f"not {len(key.encode('utf-8', 'replace'))}"
        )
    if not key.isprintable():
        raise invalid_location(f"key {names.shown(key)} holds a character that cannot be printed")
    for what, pin in (("version", location.version), ("ETag", location.e_tag)):
        if len(pin) > _PIN_LENGTH or not pin.isascii() or not pin.isprintable() or {'"', " "} & set(pin):
            raise invalid_location(
                f"{names.shown(pin)} is no {what} of an object: copy it as the store shows it"
            )
    if len(location.key) > _NAME_LENGTH:
        raise invalid_location(
            f"bucket, key, version and ETag of {names.shown(location.text)} are too long together: {len(location.key)}"
            f" characters, each that is not plain ASCII counted up to twelvefold, with {_NAME_LENGTH} allowed"
        )
    return location


def _github(location: GitHubLocation) -> GitHubLocation:
    repository, commit = location.repository, location.commit_id
    if not _REPOSITORY.fullmatch(repository) or {".", ".."} & set(repository.split("/")):
        raise invalid_location(f"{names.shown(repository)} is no repository: write owner/name")
    if not _COMMIT.fullmatch(commit):
        raise invalid_location(
            f"{names.shown(commit)} is no commit: give the full 40 hexadecimal digits, as `git rev-parse` prints them;"
            " a short id may come to mean another commit"
        )
    if location.bundle_type is BundleType.TGZ:
        raise invalid_location(
            f"{repository}@{commit[:12]} cannot be had as tgz: GitHub makes tar (which is compressed) and zip"
        )
    if location.token_name:
        check_token_name(location.token_name)
    return location


def _check_digest(sha256: str) -> None:
    if sha256 and not _DIGEST.fullmatch(sha256):
        raise invalid_location(f"{names.shown(sha256)} is no SHA-256: it has 64 hexadecimal digits")


def _url_problem(url: str) -> str:
    if not url.startswith(("https://", "file:///")):
        return "is neither https:// nor file:///: instances fetch from nothing else"
    if len(url) > _URL_LENGTH:
        return f"has {len(url)} characters, at most {_URL_LENGTH} are allowed"
    if not url.isprintable() or " " in url:
        return "holds a space or a character that cannot be printed: write it as %20 or the like"
    try:
        parts = urlsplit(url)
        # A port that is none shows only when it is asked for.
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        return f"cannot be read: {problem}"
    return "" if host or url.startswith("file://") else "names no host"
