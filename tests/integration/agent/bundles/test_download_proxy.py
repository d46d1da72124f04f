"""Downloads through a proxy of their own: for those who need one, and for nobody else."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from ferryman_agent.bundles.route import Proxy, Route
from ferryman_agent.config import parse
from ferryman_agent.core.messages import BundleType, GitHubCommit, RevisionSource
from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime.downloads import Downloads
from tests.support.connect_proxy import ConnectProxy
from tests.support.fetching import Fetcher
from tests.support.misbehaving_server import Server
from tests.support.segments import a_deployment


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    folder = tmp_path / "deployment"
    folder.mkdir()
    return Fetcher(folder)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def port(server: Server, authority: trustme.CA) -> AsyncIterator[int]:
    """Of a TLS server that is called bundles.example.test and is known to the proxy only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("bundles.example.test", "127.0.0.1").configure_cert(context)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


def through(
    proxy: ConnectProxy, authority: trustme.CA, *, user: str = "", no_proxy: tuple[str, ...] = ()
) -> Route:
    way = Proxy(host="127.0.0.1", port=proxy.port, user=user, password="pw" if user else "")
    return Route(ca_certificates=authority.cert_pem.bytes().decode(), proxy=way, no_proxy=no_proxy)


@pytest.mark.req("V2-350", "AG-072", "AG-X37")
async def test_tls_goes_through_the_proxy_from_end_to_end(
    server: Server, fetcher: Fetcher, authority: trustme.CA, port: int
) -> None:
    server.data = b"x"
    async with ConnectProxy(user="me", password="pw") as proxy:
        fetcher.route = through(proxy, authority, user="me")
        await fetcher(f"https://bundles.example.test:{port}/x?sig=SECRET", secrets=(("Authorization", "t"),))
        assert proxy.asked == [f"bundles.example.test:{port}"]
    assert fetcher.destination.read_bytes() == b"x"
    assert "Proxy-Authorization" not in server.seen[0].headers
    assert server.seen[0].headers["Host"] == f"bundles.example.test:{port}"


@pytest.mark.req("AG-073")
async def test_github_is_reached_through_it_as_well(
    server: Server, fetcher: Fetcher, authority: trustme.CA, port: int
) -> None:
    server.data = b"x"
    github = GitHubCommit(repository="acme/web", commit_id="0" * 40)
    url = f"https://bundles.example.test:{port}/repos/acme/web/tarball/{'0' * 40}"
    revision = RevisionSource(url=url, bundle_type=BundleType.TAR, github=github)
    async with ConnectProxy() as proxy:
        fetcher.route = through(proxy, authority)
        await fetcher.deployment(a_deployment(revision=revision))
        assert proxy.asked == [f"bundles.example.test:{port}"]
    assert fetcher.destination.read_bytes() == b"x"


@pytest.mark.req("V2-350")
async def test_a_proxy_that_refuses_is_named_and_its_password_is_not(
    fetcher: Fetcher, authority: trustme.CA, port: int
) -> None:
    async with ConnectProxy(user="me", password="other") as proxy:
        fetcher.route = through(proxy, authority, user="me")
        assert "pw" not in repr(fetcher.route)
        error = await fetcher.refused(f"https://bundles.example.test:{port}/x", pauses=())
        said = f"the proxy 127.0.0.1:{proxy.port} does not let bundles.example.test:{port} through: HTTP 407"
    assert said in error.message
    assert "pw" not in error.message


@pytest.mark.req("V2-350")
@pytest.mark.parametrize("rule", ["example.test", "bundles.example.test", "*"])
async def test_hosts_that_need_none_are_reached_without(
    fetcher: Fetcher, authority: trustme.CA, port: int, rule: str
) -> None:
    async with ConnectProxy() as proxy:
        fetcher.route = through(proxy, authority, no_proxy=(rule,))
        error = await fetcher.refused(f"https://bundles.example.test:{port}/x", pauses=())
        assert proxy.asked == []
    assert f"cannot connect to bundles.example.test:{port}" in error.message


@pytest.mark.req("V2-350")
async def test_this_machine_never_needs_one(
    server: Server, fetcher: Fetcher, authority: trustme.CA, port: int
) -> None:
    server.data = b"x"
    async with ConnectProxy() as proxy:
        fetcher.route = through(proxy, authority)
        await fetcher(server.url())
        await fetcher(f"https://127.0.0.1:{port}/x")
        assert proxy.asked == []


@pytest.mark.req("V2-350")
async def test_plain_http_asks_the_proxy_for_the_whole_address(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x"
    fetcher.route = Route(proxy=Proxy(host="127.0.0.1", port=server.port, user="me", password="pw"))
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    await fetcher("http://bundles.example.test/a?b=c", sha256=digest)
    assert str(server.seen[0].url) == "http://bundles.example.test/a?b=c"
    assert server.seen[0].headers["Host"] == "bundles.example.test"
    assert server.seen[0].headers["Proxy-Authorization"] == "Basic bWU6cHc="


@pytest.mark.req("V2-350")
async def test_the_configuration_says_which_and_a_reload_counts_for_the_next_bundle(tmp_path: Path) -> None:
    text = b"proxy: {downloads: 'http://me:pw@proxy.test:3128', no_proxy: [example.test]}\n"
    config = parse(text, "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    made = Downloads(config, Layout(config.root), lambda: None, frozenset)
    route = made._transport().route
    assert route.proxy == Proxy(host="proxy.test", port=3128, user="me", password="pw")
    assert route.no_proxy == ("example.test",)
    made.reconfigure(parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config)
    assert made._transport().route.proxy is None
