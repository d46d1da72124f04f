"""Addresses of bundles, as people may see them."""

from __future__ import annotations

from urllib.parse import urlsplit


def shown_url(url: str) -> str:
    """Returns an address without user, password, query and fragment."""
    parts = urlsplit(url)
    # Not `parts.port`: it raises when the port is none.
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
