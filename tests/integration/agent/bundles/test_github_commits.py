"""Commits of GitHub: the original's retries, a token that stays with its host, and what such archives leave out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.bundles.download import download_bundle
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.core.messages import BundleType, DeploymentDescription, GitHubCommit, RevisionSource
from ferryman_agent.files.layout import Layout
from tests.support.bundles import APPSPEC, items, make_tar, make_zip
from tests.support.fetching import Fetcher
from tests.support.misbehaving_server import Server, status
from tests.support.segments import a_deployment

COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
TARBALL = f"/repos/acme/web/tarball/{COMMIT}"
TOKEN = (("Authorization", "token SECRET"),)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    folder = tmp_path / "deployment"
    folder.mkdir()
    return Fetcher(folder)


def a_commit(server: Server, *, token: bool = False, **given: Any) -> DeploymentDescription:
    github = GitHubCommit(repository="acme/web", commit_id=COMMIT, token_name="ci" if token else "")
    kind = given.pop("bundle_type", BundleType.TAR)
    revision = RevisionSource(url=server.url(TARBALL), bundle_type=kind, github=github)
    return a_deployment(revision=revision, download_headers=TOKEN if token else (), **given)


@pytest.mark.req("AG-230", "AG-228")
@pytest.mark.parametrize("is_private", [True, False])
async def test_a_token_is_sent_and_without_one_nobody_is_named(
    server: Server, fetcher: Fetcher, is_private: bool
) -> None:
    server.data = b"x"
    await fetcher.deployment(a_commit(server, token=is_private))
    assert server.seen[0].raw_path == TARBALL
    assert server.seen[0].headers.get("Authorization") == ("token SECRET" if is_private else None)
    assert server.seen[0].headers["User-Agent"], "GitHub refuses requests without one"


@pytest.mark.req("AG-231", "AG-234")
async def test_the_token_does_not_follow_a_redirect_to_another_host(
    server: Server, elsewhere: Server, fetcher: Fetcher
) -> None:
    elsewhere.data = b"the archive"
    server.answers = [
        status(302, Location="/moved"),
        status(302, Location=elsewhere.url("/archive?t=1")),
    ]
    elsewhere.answers = [status(302, Location=elsewhere.url("/archive2"))]
    await fetcher.deployment(a_commit(server, token=True))
    assert [one.headers.get("Authorization") for one in server.seen] == ["token SECRET"] * 2
    assert [one.headers.get("Authorization") for one in elsewhere.seen] == [None, None]
    assert fetcher.destination.read_bytes() == b"the archive"


@pytest.mark.req("AG-231")
async def test_a_host_that_sends_it_back_home_gets_no_second_look_at_it(
    server: Server, elsewhere: Server, fetcher: Fetcher
) -> None:
    server.data = b"x"
    server.answers = [status(302, Location=elsewhere.url())]
    elsewhere.answers = [status(302, Location=server.url("/back"))]
    await fetcher.deployment(a_commit(server, token=True))
    assert elsewhere.seen[0].headers.get("Authorization") is None


@pytest.mark.req("AG-232", "V2-056", "AG-233", "AG-T09")
@pytest.mark.parametrize("code", [500, 502, 503])
async def test_three_retries_after_10_30_and_90_seconds(server: Server, fetcher: Fetcher, code: int) -> None:
    server.answers = [status(code), status(502), status(code), status(504)]
    error = await fetcher.refused_deployment(a_commit(server))
    assert fetcher.pauses == [10, 30, 90]
    assert len(server.seen) == 4
    listed = "; ".join(f"HTTP {one}" for one in (code, 502, code, 504))
    assert listed in error.message or (code == 502 and "HTTP 502 (3 times); HTTP 504" in error.message)
    assert server.url(TARBALL) in error.message


@pytest.mark.req("AG-233", "V2-056", "AG-X37")
async def test_a_host_that_is_not_there_is_retried_too(fetcher: Fetcher) -> None:
    error = await fetcher.refused_deployment(a_commit(Server(port=1)))
    assert fetcher.pauses == [10, 30, 90]
    assert "cannot connect to 127.0.0.1:1" in error.message


@pytest.mark.req("V2-057", "AG-233", "AG-239", "AG-S17", "AG-T10", "AG-X37")
@pytest.mark.parametrize(
    "code, is_private, said",
    [
        (401, True, "the coordinator's stored token 'ci' is refused: it has expired or was revoked"),
        (401, False, "access denied"),
        (403, True, "access denied with the coordinator's stored token 'ci'"),
        (404, True, "or the coordinator's stored token 'ci' does not show it"),
        (404, False, "there is no such bundle"),
        (422, False, "HTTP 422"),
    ],
)
async def test_what_stays_wrong_fails_at_once_and_a_bad_token_is_named(
    server: Server, fetcher: Fetcher, code: int, is_private: bool, said: str
) -> None:
    server.answers = [status(code)]
    error = await fetcher.refused_deployment(a_commit(server, token=is_private))
    assert (len(server.seen), fetcher.pauses) == (1, [])
    assert said in error.message
    assert COMMIT in error.message
    assert "SECRET" not in error.message


@pytest.mark.req("AG-233", "V2-051")
async def test_a_rate_limit_is_no_refusal_and_waits_as_told(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x"
    reset = str(int(time.time()) + 20)
    server.answers = [
        status(403, x_ratelimit_remaining="0", x_ratelimit_reset=reset),
        status(403, Retry_After="12"),
        status(429),
    ]
    await fetcher.deployment(a_commit(server))
    assert len(server.seen) == 4
    assert 18 <= fetcher.pauses[0] <= 20
    assert 12 in fetcher.pauses


@pytest.mark.req("AG-229", "V2-140")
async def test_github_packs_no_tgz(server: Server, fetcher: Fetcher) -> None:
    error = await fetcher.refused_deployment(a_commit(server, bundle_type=BundleType.TGZ))
    assert error.detail_code == "BUNDLE_TYPE"
    assert "tar or zip" in error.message
    assert server.seen == []


@pytest.mark.req("AG-235", "AG-236", "AG-240", "AG-253")
@pytest.mark.parametrize("kind", [BundleType.TAR, BundleType.ZIP])
async def test_the_one_top_folder_is_lifted_and_what_is_left_out_is_said(
    server: Server, tmp_path: Path, kind: BundleType
) -> None:
    files = {
        "appspec.yml": APPSPEC,
        ".gitmodules": b'[submodule "x"]\n',
        "logo.png": POINTER,
        "sub/film.mp4": POINTER,
        "readme": b"version https://example.org/\n",
    }
    packed = items({f"acme-web-3f78685/{name}": content for name, content in files.items()})
    server.data = make_tar(packed, "gz") if kind is BundleType.TAR else make_zip(packed)
    layout = Layout(tmp_path / "root")
    layout.prepare()
    deployment = a_commit(server, bundle_type=kind)
    report = await download_bundle(
        deployment,
        layout=layout,
        limits=BundleLimits(disk_reserve_bytes=0),
        max_revisions=5,
        on_progress=lambda received, total: None,
    )
    archive = layout.deployment("g-1", "d-1").archive
    assert {name: (archive / name).read_bytes() for name in files} == files
    submodules, pointers = report.warnings
    assert "submodules" in submodules
    assert "2 files are pointers to Git LFS" in pointers
