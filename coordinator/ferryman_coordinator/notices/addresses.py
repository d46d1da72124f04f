"""Which network addresses messages must not be sent to: where a cloud tells a machine its secrets, and the like."""

from __future__ import annotations

import ipaddress

_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
"""Of AWS and most others, AWS over IPv6, Alibaba, Azure and Oracle."""


def refusal(text: str, *, allow_link_local: bool) -> str:
    """Why nothing is sent to that IP address; empty when it is fine. Loopback and private ones are."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_multicast or address.is_unspecified or address == ipaddress.ip_address("255.255.255.255"):
        return f"{text} is no address of one host"
    if allow_link_local:
        return ""
    if address in _METADATA or address.is_link_local:
        return f"{text} is a link-local or metadata address: set allow_link_local if that is meant"
    return ""


def is_literal(host: str) -> bool:
    """Whether that is an IP address already, which nobody looks up."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
