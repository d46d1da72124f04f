"""Where the revision is: `--bundle-location` and `--type` into a place and a kind (AG-O01, AG-O02). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ferryman_agent.core.messages import BundleType, GitHubCommit, S3Object
from ferryman_agent.system import own

TYPES = ("tgz", "tar", "zip", "directory")
S3_FORM = "s3://BUCKET/KEY[?versionId=…&etag=…]"
GITHUB_FORMS = (
    "https://github.com/OWNER/REPO or https://api.github.com/repos/OWNER/REPO/(zipball|tarball)/REF"
)
GITHUB_SITE, GITHUB_API = "github.com", "api.github.com"

# Amazon's own hosts: s3.REGION, s3-REGION, dual-stack, with or without the bucket before it.
_S3_HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?"
    r"s3(?:[.-]dualstack)?(?:[.-][a-z]{2}(?:-[a-z]+){1,3}-\d)?\.amazonaws\.com(?:\.cn)?"
)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_OWNER = r"(?P<owner>[A-Za-z0-9][A-Za-z0-9_-]*)"
_REPOSITORY = r"(?P<repository>(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+?)"
_SITE_PATH = re.compile(rf"/{_OWNER}/{_REPOSITORY}(?:\.git)?/?")
_API_PATH = re.compile(rf"/repos/{_OWNER}/{_REPOSITORY}/(?P<kind>zipball|tarball)/(?P<ref>[^/].*)")
_SUFFIXES = {
    ".zip": "zip",
    ".jar": "zip",
    ".war": "zip",
    ".tar": "tar",
    ".tgz": "tgz",
    ".tar.gz": "tgz",
    ".tar.bz2": "tar",
    ".tar.xz": "tar",
}


class Kind(StrEnum):
    LOCAL = "local"
    S3 = "s3"
    HTTPS = "https"
    GITHUB = "github"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """`place` is an absolute path or an address; of an object in S3 the address is made later, with a signature.

    `type_name` is "" where only a look at the path can tell. `shown` has no secret in it.
    """

    kind: Kind
    place: str
    shown: str
    type_name: str = ""
    s3: S3Object | None = None
    github: GitHubCommit | None = None

    @property
    def bundle_type(self) -> BundleType:
        """The type of an archive; meaningless for a directory."""
        return BundleType(self.type_name) if self.type_name in ("tgz", "tar", "zip") else BundleType.TAR


class Wrong(ValueError):
    """What is wrong with the location, in one sentence."""


def locate(text: str | None, type_name: str | None, *, cwd: str, stores: Collection[str] = ()) -> Location:
    """Returns the place that is meant. Raises Wrong.

    `stores` are hosts (with their port, if any) of object stores that this machine is told of (AG-493).
    """
    if text is None:
        return Location(kind=Kind.LOCAL, place=cwd, shown=cwd, type_name=type_name or "")
    if not text or "\0" in text or any(ord(character) < 32 for character in text):
        raise Wrong(f"--bundle-location: {text!r} is no location")
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Location(kind=Kind.LOCAL, place=own.joined(cwd, text), shown=text, type_name=type_name or "")
    if scheme == "s3":
        return _s3(text, type_name)
    if scheme != "https":
        raise Wrong(
            f"--bundle-location: {scheme}:// is not accepted: use a path, {S3_FORM} or an https:// address"
        )
    return _https(text, type_name, stores)


def type_of_name(name: str) -> str:
    """Returns the type that a file's name promises; "" where it promises none (AG-489)."""
    lowered = name.lower()
    longest_first = sorted(_SUFFIXES, key=len, reverse=True)
    return next((_SUFFIXES[suffix] for suffix in longest_first if lowered.endswith(suffix)), "")


def _s3(text: str, type_name: str | None) -> Location:
    address, _, query = text.partition("?")
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket) or not key or "#" in text:
        raise Wrong(f"--bundle-location: {text} is no object in S3: write {S3_FORM}")
    values = _parameters(query)
    unknown = values.keys() - {"versionId", "etag"}
    if unknown:
        raise Wrong(f"--bundle-location: parameter {', '.join(sorted(unknown))} is unknown: write {S3_FORM}")
    thing = S3Object(
        bucket=bucket, key=key, version=values.get("versionId", ""), etag=values.get("etag", "").strip('"')
    )
    return Location(
        kind=Kind.S3, place=address, shown=address, type_name=_archive_type(key, type_name), s3=thing
    )


def _https(text: str, type_name: str | None, stores: Collection[str]) -> Location:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as problem:
        raise Wrong(f"--bundle-location: the address cannot be read: {problem}") from None
    shown = f"https://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc:
        raise Wrong(
            f"--bundle-location: {shown} comes with a name or token, which other users see on the command line: "
            "put a GitHub token into FERRYMAN_GITHUB_TOKEN"
        )
    # Compared as a whole: github.com.evil.example and evilgithub.com are somebody else's (AG-494).
    if host in (GITHUB_SITE, GITHUB_API) and port in (None, 443):
        return _github(parts.path, parts.query or parts.fragment, host, shown, type_name)
    amazon = _S3_HOST.fullmatch(host) if port in (None, 443) else None
    name = host if port is None else f"{host}:{port}"
    if amazon is None and name not in stores:
        raise Wrong(
            f"--bundle-location: {name} is neither GitHub nor an object store that this machine is told of: use "
            f"{GITHUB_FORMS}; {S3_FORM}; a pre-signed https address of Amazon S3; or name the store in "
            "AWS_ENDPOINT_URL_S3"
        )
    bucket = amazon["bucket"] if amazon and amazon["bucket"] else ""
    return _object(parts.path, parts.query, shown, bucket, type_name)


def _object(path: str, query: str, shown: str, bucket: str, type_name: str | None) -> Location:
    """An object by its https address: the ETag is ours to compare, all else belongs to the address and its maker."""
    key = unquote(path.removeprefix("/"))
    if not bucket:
        bucket, _, key = key.partition("/")
    if not bucket or not key:
        raise Wrong(f"--bundle-location: {shown} names no object: write https://HOST/BUCKET/KEY")
    values = _parameters(query)
    rest = "&".join(part for part in query.split("&") if part.partition("=")[0] != "etag")
    thing = S3Object(
        bucket=bucket, key=key, version=values.get("versionId", ""), etag=values.get("etag", "").strip('"')
    )
    return Location(
        kind=Kind.HTTPS,
        place=f"{shown}?{rest}" if rest else shown,
        shown=shown,
        type_name=_archive_type(key, type_name),
        s3=thing,
    )


def _github(path: str, more: str, host: str, shown: str, type_name: str | None) -> Location:
    match = (_SITE_PATH if host == GITHUB_SITE else _API_PATH).fullmatch(path)
    if match is None or more or ".." in unquote(path).split("/"):
        raise Wrong(f"--bundle-location: {shown} is no repository at GitHub: write {GITHUB_FORMS}")
    named = match.groupdict()
    promised = {"tarball": "tar", "zipball": "zip"}.get(named.get("kind") or "", "zip")
    # Anything but zip and tar becomes zip (AG-496); what nobody says, the address does.
    chosen = promised if type_name is None else type_name if type_name in ("zip", "tar") else "zip"
    repository = f"{named['owner']}/{named['repository']}"
    reference = unquote(named.get("ref") or "HEAD")
    ball = "tarball" if chosen == "tar" else "zipball"
    return Location(
        kind=Kind.GITHUB,
        place=f"https://{GITHUB_API}/repos/{repository}/{ball}/{quote(reference)}",
        shown=shown,
        type_name=chosen,
        github=GitHubCommit(repository=repository, commit_id=reference),
    )


def _archive_type(key: str, type_name: str | None) -> str:
    if type_name == "directory":
        raise Wrong(
            "--type: directory is for a directory on this machine; what is fetched is tgz, tar or zip"
        )
    found = type_name or type_of_name(key)
    if not found:
        raise Wrong(f"--bundle-location: the name {key} does not tell its type: add --type tgz, tar or zip")
    return found


def _parameters(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))
