"""Addresses of bundles: taken apart, judged, and as people may see them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from ferryman_agent.core.no_proxy import is_direct
from ferryman_agent.errors import BundleError

_PORTS = {"http": 80, "https": 443}
_LONGEST_LABEL = 63
_AS_IT_IS = "/%:=&?~#+!$,;'@()*[]-._"


def bracketed(host: str) -> str:
    """Returns a host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What an address says of where to go."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        is_usual = self.port == _PORTS[self.scheme]
        return bracketed(self.host) if is_usual else f"{bracketed(self.host)}:{self.port}"


def shown_url(url: str) -> str:
    """Returns an address without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    # Not `parts.port`: it raises when the port is none.
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def place_of(url: str) -> Place:
    """Takes an http or https address apart. Raises BundleError for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = _as_asked_for(host)
    except ValueError as problem:
        message = f"cannot fetch the bundle: its address cannot be read: {problem}"
        raise BundleError("BUNDLE_URL", message) from problem
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        message = f"cannot fetch {shown_url(url)}: bundles come by https, http or file"
        raise BundleError("BUNDLE_URL", message)
    if not host or any(ord(letter) <= 32 or ord(letter) == 127 for letter in host):
        raise BundleError("BUNDLE_URL", f"cannot fetch {shown_url(url)}: not a usable address")
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    # A signed address stays as it is to the letter; only what could not be sent at all is escaped.
    target = quote(target, safe=_AS_IT_IS)
    return Place(scheme=scheme, host=host, port=port or _PORTS[scheme], target=target)


def _as_asked_for(host: str) -> str:
    """The name as name servers have it. Raises ValueError for one that none could be asked for."""
    if not host.isascii():
        return host.encode("idna").decode()
    # The codec does no more with these, and with its tables it is 0.3 MiB.
    *labels, last = host.split(".")
    if not all(labels) or len(max(last, *labels, key=len)) > _LONGEST_LABEL:
        raise ValueError("a part of the host's name is empty or too long")
    return host


def redirected(url: str, location: str) -> str:
    """Returns where a redirect leads. Raises BundleError when nobody can tell."""
    try:
        return urljoin(url, location)
    except ValueError as problem:
        message = f"cannot fetch {shown_url(url)}: it redirects to an address that cannot be read: {problem}"
        raise BundleError("BUNDLE_URL", message) from problem


def check_transport(url: str, sha256: str | None) -> None:
    """Raises BundleError for an address that cannot be used, or that proves nothing of what comes from it."""
    place = place_of(url)
    if place.scheme == "http" and sha256 is None and not is_direct(place.host, ()):
        message = f"cannot fetch {shown_url(url)}: http without a SHA-256 proves nothing"
        raise BundleError("BUNDLE_UNVERIFIED", f"{message}; use https or register a digest")
