"""How servers are reached: trust, proxy, exceptions. Without the libraries that reach them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from ferryman_agent.bundles.address import bracketed
from ferryman_agent.core.no_proxy import is_direct


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy for downloads (V2-350)."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """`host:port`, for people."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def authorization(self) -> dict[str, str]:
        """The header that a proxy with a user wants."""
        if not self.user:
            return {}
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {pair}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How servers are reached: the trust for https, the proxy if any, and who needs none.

    ca_certificates: PEM text, trusted beside the system's own.
    no_proxy: names (with all below them), addresses, networks, or `*`; loopback never needs one.
    trace: the file that requests and answers are traced into; empty for none (V2-273).
    """

    ca_certificates: str = field(default="", repr=False)
    proxy: Proxy | None = None
    no_proxy: tuple[str, ...] = ()
    trace: str = ""

    def proxy_for(self, host: str) -> Proxy | None:
        """Returns the proxy that a host is reached through, if one is."""
        if self.proxy is None or is_direct(host, self.no_proxy):
            return None
        return self.proxy
