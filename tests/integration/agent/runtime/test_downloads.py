"""Bundles over real HTTPS: the coordinator's own CA is trusted, and no other than that and the system's."""

from __future__ import annotations

import hashlib
import io
import ssl
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from ferryman_agent.config import parse
from ferryman_agent.core.messages import BundleType, DeploymentDescription, RevisionSource
from ferryman_agent.errors import BundleError
from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime.downloads import Downloads
from tests.support.identities import an_identity
from tests.support.segments import a_deployment
from tests.support.small_ca import SmallCa


def a_bundle() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        bundle.writestr("appspec.yml", "version: 0.0\nos: linux\n")
    return packed.getvalue()


BUNDLE = a_bundle()


@pytest.fixture
def ca() -> SmallCa:
    return SmallCa()


@pytest.fixture
async def url(ca: SmallCa, tmp_path: Path) -> AsyncIterator[str]:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=BUNDLE)

    signed = ca.server("localhost")
    files = {"chain": signed.chain, "key": signed.key}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    app = web.Application()
    app.router.add_get("/bundles/x", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    address = runner.addresses[0]
    yield f"https://localhost:{address[1]}/bundles/x?expires=1&signature=secret"
    await runner.cleanup()


def downloads(folder: Path, trusted: SmallCa, settings: bytes = b"") -> Downloads:
    config = parse(settings, "f", {"FERRYMAN_AGENT_HOME": str(folder)}).config
    identity = an_identity(ca_certificates=trusted.pem.decode())
    layout = Layout(config.root, state_dir=Path(config.state_dir))
    layout.prepare()
    return Downloads(config, layout, lambda: identity, frozenset)


def a_description(url: str) -> DeploymentDescription:
    digest = hashlib.sha256(BUNDLE).hexdigest()
    return a_deployment(
        revision=RevisionSource(url=url, bundle_type=BundleType.ZIP, sha256=digest, size_bytes=len(BUNDLE))
    )


async def test_the_coordinator_s_own_bundle_comes_over_its_own_ca(
    url: str, ca: SmallCa, tmp_path: Path
) -> None:
    heard: list[int] = []
    made = downloads(tmp_path / "agent", ca)
    said = await made.download(a_description(url), lambda received, total: heard.append(received))
    assert said.startswith("Succeeded")
    archive = tmp_path / "agent/deployment-root/g-1/d-1/deployment-archive"
    assert (archive / "appspec.yml").is_file()
    assert heard[-1] == len(BUNDLE)


async def test_a_prefetch_leaves_the_archive_alone(url: str, ca: SmallCa, tmp_path: Path) -> None:
    await downloads(tmp_path / "agent", ca).prefetch(a_description(url))
    directory = tmp_path / "agent/deployment-root/g-1/d-1"
    assert (directory / "bundle.tar").read_bytes() == BUNDLE
    assert not (directory / "deployment-archive").exists()


@pytest.mark.req("AG-092")
async def test_a_server_of_another_ca_is_refused_and_the_address_is_not_shown(
    url: str, tmp_path: Path
) -> None:
    made = downloads(tmp_path / "agent", SmallCa("another"))
    with pytest.raises(BundleError) as caught:
        await made.download(a_description(url), lambda received, total: None)
    assert "certificate" in caught.value.message.lower()
    assert "secret" not in caught.value.message


@pytest.mark.req("AG-070", "AG-K10", "V2-273")
async def test_a_traced_download_leaves_its_trace_and_warns_each_time(
    url: str, ca: SmallCa, tmp_path: Path
) -> None:
    made = downloads(tmp_path / "agent", ca, b"log_aws_wire: true\n")
    trace = tmp_path / "agent/log/codedeploy-agent.aws_wire.log"
    trace.parent.mkdir(parents=True)
    with structlog.testing.capture_logs() as logs:
        await made.prefetch(a_description(url))
        await made.prefetch(a_description(url))
    warnings = [each for each in logs if each["event"] == "download.traced"]
    assert [each["log_level"] for each in warnings] == ["warning", "warning"]
    text = trace.read_text()
    assert "/bundles/x" in text
    assert "200 OK" in text
    assert "signature" not in text
