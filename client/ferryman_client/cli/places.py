"""Where a revision lies, as options say it: an S3 object, a commit of a repository, a URL."""

from __future__ import annotations

from ferryman.locations import LocationError, bundle_type_of, is_s3, parse_commit, parse_s3
from ferryman.v1 import types_pb2
from ferryman_client.bundle import BUNDLE_TYPES
from ferryman_client.cli.session import EXIT_USAGE, fail


def url_location(url: str, sha256: str = "", bundle_type: str = "") -> types_pb2.RevisionLocation:
    """Returns the location of an archive elsewhere; ends the process when its kind cannot be told."""
    kind = _kind(url, url.partition("?")[0], bundle_type, BUNDLE_TYPES)
    return types_pb2.RevisionLocation(
        url=types_pb2.UrlLocation(url=url, bundle_type=kind, sha256=sha256.lower())
    )


def s3_location(
    text: str, *, bundle_type: str = "", version: str = "", e_tag: str = "", sha256: str = ""
) -> types_pb2.RevisionLocation:
    """Returns the location of an object, in any form of AG-529; ends the process when it cannot be told."""
    try:
        name = parse_s3(text)
    except LocationError as problem:
        fail(str(problem), EXIT_USAGE)
    for what, inside, beside in (("version", name.version, version), ("ETag", name.e_tag, e_tag)):
        if inside and beside and inside != beside:
            fail(f"{text} has a {what} in it, and another one is given beside it", EXIT_USAGE)
    return types_pb2.RevisionLocation(
        s3=types_pb2.S3Location(
            bucket=name.bucket,
            key=name.key,
            version=name.version or version,
            e_tag=name.e_tag or e_tag,
            bundle_type=_kind(text, name.key, bundle_type, BUNDLE_TYPES),
            sha256=sha256.lower(),
        )
    )


def github_location(text: str, *, bundle_type: str = "", token_name: str = "") -> types_pb2.RevisionLocation:
    """Returns the location of a commit; ends the process when the text names none."""
    try:
        name = parse_commit(text)
    except LocationError as problem:
        fail(str(problem), EXIT_USAGE)
    kind = types_pb2.BUNDLE_TYPE_UNSPECIFIED
    if bundle_type:
        kind = _kind(text, "", bundle_type, {kind: BUNDLE_TYPES[kind] for kind in ("tar", "zip")})
    return types_pb2.RevisionLocation(
        github=types_pb2.GitHubLocation(
            repository=name.repository, commit_id=name.commit_id, bundle_type=kind, token_name=token_name
        )
    )


def named_location(text: str) -> types_pb2.RevisionLocation | None:
    """Returns what may be deployed although nobody has registered it; None for what can only be looked up."""
    if is_s3(text):
        return s3_location(text)
    if "://" in text:
        return url_location(text)
    return github_location(text) if "@" in text else None


def _kind(
    what: str, path: str, given: str, known: dict[str, types_pb2.BundleType.ValueType]
) -> types_pb2.BundleType.ValueType:
    kind = given or bundle_type_of(path)
    if kind not in known:
        fail(f"cannot tell what kind of archive {what} is: give --bundle-type {', '.join(known)}", EXIT_USAGE)
    return known[kind]
