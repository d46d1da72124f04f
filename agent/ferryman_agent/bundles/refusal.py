"""What an HTTP status means for a bundle: try again, and when, or never, and why (AG-223, AG-233, AG-239, V2-057)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from ferryman_agent.errors import BundleError

_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
_DENIED = frozenset({401, 403, 407})
_MISSING = frozenset({404, 410})
_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
# What stores call it, and what it means to people. The codes are S3's, which its likes have taken over.
_MEANINGS = {
    "AuthorizationHeaderMalformed": ("BUNDLE_WRONG_REGION", "the bucket is in another region"),
    "PermanentRedirect": ("BUNDLE_WRONG_REGION", "the bucket is in another region or at another endpoint"),
    "TemporaryRedirect": ("BUNDLE_WRONG_REGION", "the bucket is in another region or at another endpoint"),
    "IllegalLocationConstraintException": ("BUNDLE_WRONG_REGION", "the bucket is in another region"),
    "NoSuchBucket": ("BUNDLE_NOT_FOUND", "there is no such bucket"),
    "NoSuchKey": ("BUNDLE_NOT_FOUND", "there is no such bundle in the bucket"),
    "NoSuchVersion": ("BUNDLE_NOT_FOUND", "there is no such version of the bundle"),
    "ExpiredToken": ("BUNDLE_FORBIDDEN", "the coordinator's credentials for the store have expired"),
    "RequestTimeTooSkewed": ("BUNDLE_FORBIDDEN", "a clock is wrong: the store's or the coordinator's"),
    "SignatureDoesNotMatch": ("BUNDLE_FORBIDDEN", "the coordinator's key for the store is not the right one"),
}
_ERROR_BODY = 2048
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")


class Answered(Protocol):
    """An HTTP answer."""

    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str: ...

    def read(self, most: int) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What may pass: what the server said, and the seconds that it asks to wait."""

    said: str
    after: float = 0
    is_throttled: bool = False


def refused(answer: Answered, label: str, credential: str, *, now: float) -> Refusal:
    """Judges an answer without a bundle in it; `now` is in seconds since the epoch.

    Raises BundleError for what trying again cannot help. Of the body only a store's own code is shown.
    """
    status = answer.status
    match = _ERROR_CODE.search(answer.read(_ERROR_BODY))
    code = match[1].decode() if match else ""
    said = f"HTTP {status} {code}".rstrip()
    after = _asked_pause(answer, now)
    if status == 429 or code in _THROTTLED or (status == 403 and _is_rate_limit(answer)):
        return Refusal(said=f"{said}, too many requests", after=after, is_throttled=True)
    if status in _MAY_PASS:
        return Refusal(said=said, after=after)
    detail, meaning = _MEANINGS.get(code) or _by_status(status, credential)
    raise BundleError(detail, f"cannot fetch {label}: {meaning} ({said})")


def _by_status(status: int, credential: str) -> tuple[str, str]:
    if status == 401 and credential:
        return "BUNDLE_FORBIDDEN", f"{credential} is refused: it has expired or was revoked; store a new one"
    if status in _DENIED:
        return "BUNDLE_FORBIDDEN", "access denied" + (f" with {credential}" if credential else "")
    if status in _MISSING:
        hint = f", or {credential} does not show it" if credential else ""
        return "BUNDLE_NOT_FOUND", f"there is no such bundle{hint}"
    return "BUNDLE_HTTP", "the server gives no bundle"


def _is_rate_limit(answer: Answered) -> bool:
    # GitHub answers 403 for both of its limits; only these headers tell them from a missing permission.
    return answer.header("x-ratelimit-remaining") == "0" or bool(answer.header("Retry-After"))


def _asked_pause(answer: Answered, now: float) -> float:
    pause = answer.header("Retry-After")
    if pause.isascii() and pause.isdigit():
        return float(pause)
    reset = answer.header("x-ratelimit-reset")
    if answer.header("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return max(0.0, float(reset) - now)
    return 0.0
