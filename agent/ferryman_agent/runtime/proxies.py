"""The way out that the configuration gives for each kind of traffic: the one reader of `proxy` (V2-350)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ferryman_agent.config import Config
from ferryman_agent.config.values import ProxyAddress
from ferryman_agent.core.no_proxy import is_direct

if TYPE_CHECKING:
    from ferryman_agent.bundles.route import Proxy


def to_coordinator(config: Config, host: str) -> ProxyAddress | None:
    """Returns the proxy to a coordinator; None where it is reached without."""
    return None if is_direct(host, config.proxy.no_proxy) else config.proxy.coordinator


def coordinator_proxy(config: Config, host: str) -> str | None:
    """Returns the way to the coordinator as `ferryman.channel.open_channel` wants it.

    The proxy's address with user and password; "" for none, whatever the environment says; None for what it says.
    """
    if config.proxy.coordinator is None:
        return None
    proxy = to_coordinator(config, host)
    if proxy is None:
        return ""
    user = quote(proxy.user, safe="")
    password = f":{quote(proxy.password.reveal(), safe='')}" if proxy.password else ""
    return f"http://{user}{password}{'@' if user else ''}{proxy.place}"


def for_downloads(config: Config) -> tuple[Proxy | None, tuple[str, ...]]:
    """Returns the proxy of downloads and the hosts that need none, which are known with each address only."""
    # Only with the first download.
    from ferryman_agent.bundles.route import Proxy

    wanted, direct = config.proxy.downloads, config.proxy.no_proxy
    if wanted is None:
        return None, direct
    password = wanted.password.reveal()
    return Proxy(host=wanted.host, port=wanted.port, user=wanted.user, password=password), direct
