"""Which hosts need no proxy: names with all below them, addresses, networks, or `*`; this machine never does."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def is_direct(host: str, no_proxy: Iterable[str]) -> bool:
    """Whether `host`, a name or an address without brackets, is reached without a proxy."""
    return _is_loopback(host) or any(_covers(rule.strip(), host) for rule in no_proxy)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _covers(rule: str, host: str) -> bool:
    if rule == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name, wanted = host.lower().rstrip("."), rule.lower().removeprefix("*").strip(".")
        return bool(wanted) and (name == wanted or name.endswith(f".{wanted}"))
    try:
        return address in ipaddress.ip_network(rule.strip("[]"), strict=False)
    except ValueError:
        return False
