"""How people write where a revision lies: S3 objects and commits, as one text. Pure.

The client reads what is typed, the coordinator what it is asked for; both write it the same way (AG-529, PF-300).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

FORMS = "s3://bucket/key, with ?versionId=…&eTag=… where wanted, or https://bucket.s3.amazonaws.com/key"

_S3 = "s3://"
_PINS = re.compile(r"(?:versionid|etag)=[^&]*(?:&(?:versionid|etag)=[^&]*)*", re.IGNORECASE)
# bucket.s3.amazonaws.com, bucket.s3.eu-west-1.amazonaws.com, bucket.s3-eu-west-1.amazonaws.com; without the bucket
# the path begins with it.
_AMAZON = re.compile(r"(?:(?P<bucket>[^/]+)\.)?s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?", re.IGNORECASE)
_COMMIT = re.compile(r"(?P<repository>[^@\s]+)@(?P<commit>[^@\s]+)")
_ENDINGS = {".zip": "zip", ".tar": "tar", ".tgz": "tgz", ".tar.gz": "tgz"}


class LocationError(ValueError):
    """A text that is no such location; the message says what is wrong with it, and how it is written."""


@dataclass(frozen=True, slots=True)
class S3Name:
    """An object of a bucket; `version` and `e_tag` (without quotes) are empty where they are not given."""

    bucket: str
    key: str
    version: str = ""
    e_tag: str = ""


@dataclass(frozen=True, slots=True)
class CommitName:
    """A commit of a repository `owner/name`."""

    repository: str
    commit_id: str


def is_s3(text: str) -> bool:
    """Whether a text is meant as an object of S3, rightly written or not. An https:// address is just that."""
    return text.startswith(_S3) or ("://" not in text and _AMAZON.match(text) is not None)


def parse_s3(text: str) -> S3Name:
    """Reads the forms of AG-529. Raises LocationError.

    A key is taken as it stands after s3://, and unescaped in an address of the other form.
    """
    if text.startswith(_S3):
        bucket, _, rest = text[len(_S3) :].partition("/")
        key, version, e_tag = _pins(rest)
    else:
        bucket, key, version, e_tag = _of_amazon(text)
    if not bucket or not key:
        raise LocationError(f"{text!r} names no {'key' if bucket else 'bucket'}: write {FORMS}")
    return S3Name(bucket, key, version, e_tag)


def s3_text(bucket: str, key: str, version: str = "", e_tag: str = "") -> str:
    """The first form of AG-529: what `parse_s3` reads."""
    pins = [f"versionId={version}"] if version else []
    pins += [f"eTag={e_tag}"] if e_tag else []
    return f"{_S3}{bucket}/{key}" + ("?" + "&".join(pins) if pins else "")


def parse_commit(text: str) -> CommitName:
    """Reads `owner/name@commit`. Raises LocationError; whether the parts are right is not looked at."""
    match = _COMMIT.fullmatch(text)
    if match is None:
        raise LocationError(f"{text!r} is no commit of a repository: write owner/name@commit")
    return CommitName(match["repository"], match["commit"])


def bundle_type_of(name: str) -> str:
    """`zip`, `tar` or `tgz` by the ending of a key or path; empty where that does not tell."""
    return next((kind for ending, kind in _ENDINGS.items() if name.lower().endswith(ending)), "")


def bare_e_tag(text: str) -> str:
    """An ETag without its double quotes, which some show and others do not (CP-201)."""
    return text.strip().removeprefix('"').removesuffix('"')


def _of_amazon(text: str) -> tuple[str, str, str, str]:
    address = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(address)
    except ValueError as problem:
        raise LocationError(f"{text!r} cannot be read: {problem}") from problem
    match = _AMAZON.fullmatch(parts.netloc)
    if parts.scheme != "https" or match is None:
        raise LocationError(f"{text!r} names no object of S3: write {FORMS}")
    path, version, e_tag = _pins(address.partition(parts.netloc)[2].removeprefix("/"))
    bucket, key = (match["bucket"], path) if match["bucket"] else path.partition("/")[::2]
    return bucket, unquote(key), unquote(version), unquote(e_tag)


def _pins(text: str) -> tuple[str, str, str]:
    """Key, version and ETag. A question mark belongs to the key where no pin follows it."""
    key, mark, query = text.rpartition("?")
    if not mark or not _PINS.fullmatch(query):
        return text, "", ""
    given: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if given.setdefault(name.lower(), value) != value:
            raise LocationError(f"{text!r} gives {name} twice")
    return key, given.get("versionid", ""), bare_e_tag(given.get("etag", ""))
