"""Whether the way to a host goes through a proxy (AG-072, AG-073)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from ferryman_agent.config.values import ProxyAddress


def proxy_for(proxy: ProxyAddress | None, no_proxy: Sequence[str], host: str) -> ProxyAddress | None:
    """Returns the proxy to take to `host`, a name or an address without brackets; None: go there directly.

    This machine itself needs none. A name in `no_proxy` stands for all names below it, with and without a leading dot.
    """
    plain = host.strip("[]").rstrip(".").lower()
    address = _address(plain)
    if proxy is None or plain == "localhost" or (address is not None and address.is_loopback):
        return None
    return None if any(_fits(entry.strip().lower(), plain, address) for entry in no_proxy) else proxy


def _fits(entry: str, host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if entry == "*":
        return True
    if address is not None:
        try:
            return address in ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return False
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
