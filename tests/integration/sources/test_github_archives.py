"""Commits of repositories: addresses, tokens, and what is found out before a deployment begins."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from ferryman_coordinator.bundles.github import GitHubArchives
from ferryman_coordinator.bundles.github_tokens import LIMIT, GitHubTokens
from ferryman_coordinator.config import load
from ferryman_coordinator.config.schema import GitHub
from ferryman_coordinator.core.model import BundleType, GitHubLocation, Instant
from ferryman_coordinator.errors import Denied, Invalid, LimitExceeded, NotFound, Refused, SetupError
from tests.support.github import COMMIT, TOKEN, Answer, FakeGitHub

NOW = Instant(1_700_000_000_000)


def settings(api_url: str) -> GitHub:
    return load(None, {}, {"data_dir": "/nowhere", "github.api_url": api_url}).github


def commit(
    repository: str = "acme/web", *, token_name: str = "", bundle_type: BundleType = BundleType.TAR
) -> GitHubLocation:
    return GitHubLocation(
        repository=repository, commit_id=COMMIT, bundle_type=bundle_type, token_name=token_name
    )


@pytest.fixture
def tokens(tmp_path: Path) -> GitHubTokens:
    return GitHubTokens.open(tmp_path / "github-tokens.json")


@pytest.fixture
def archives(github: FakeGitHub, tokens: GitHubTokens) -> GitHubArchives:
    github.repositories = {"acme/web": {"appspec.yml": "x"}, "acme/secret": {"appspec.yml": "x"}}
    github.private = {"acme/secret"}
    return GitHubArchives(settings(github.api_url), tokens)


@pytest.mark.req("AG-228", "AG-229", "PF-298")
@pytest.mark.parametrize("bundle_type, kind", [(BundleType.TAR, "tarball"), (BundleType.ZIP, "zipball")])
def test_address_is_that_of_the_archive(tokens: GitHubTokens, bundle_type: BundleType, kind: str) -> None:
    archives = GitHubArchives(settings("https://ghe.example.org/api/v3/"), tokens)
    found = archives.address(commit(bundle_type=bundle_type))
    assert found == f"https://ghe.example.org/api/v3/repos/acme/web/{kind}/{COMMIT}"
    assert GitHub().api_url == "https://api.github.com"


@pytest.mark.req("AG-230", "PF-289")
async def test_token_is_sent_only_where_one_is_named(
    archives: GitHubArchives, tokens: GitHubTokens, github: FakeGitHub
) -> None:
    await tokens.put("acme", TOKEN, NOW)
    assert archives.headers(commit()) == {}
    assert archives.headers(commit(token_name="acme")) == {"Authorization": f"token {TOKEN}"}
    assert await archives.check(commit()) == []
    assert await archives.check(commit("acme/secret", token_name="acme")) == []
    assert [one.authorization for one in github.asked] == ["", f"token {TOKEN}"]
    assert github.of_host("archive") == [], "asking does not fetch"


@pytest.mark.req("PF-293", "AG-239")
async def test_each_failure_has_words_of_its_own(
    archives: GitHubArchives, tokens: GitHubTokens, github: FakeGitHub
) -> None:
    await tokens.put("old", "ghp_revoked000000000000000000", NOW)
    for location, kind, words in (
        (commit(token_name="gone"), Invalid, "MISSING_GITHUB_TOKEN: there is no token 'gone'"),
        (commit(token_name="old"), Denied, "does not accept the token 'old': it has expired or was revoked"),
        (commit("acme/secret"), NotFound, "answers 404: .*private and needs a token"),
        (commit("acme/none", token_name="old"), Denied, "token 'old'"),
    ):
        with pytest.raises(kind, match=words) as refused:
            await archives.check(location)
        assert "ghp_revoked" not in str(refused.value)
    github.answers = [
        Answer(422),
        Answer(404),
        Answer(403, body=b'{"message": "needs\\u001b[31m SSO"}'),
        Answer(401),
    ]
    github.token = "ghp_revoked000000000000000000"
    for location, kind, words in (
        (commit(), NotFound, "answers 422"),
        (commit(token_name="old"), NotFound, "the token 'old' may not read it"),
        (commit(token_name="old"), Denied, r"needs\[31m SSO.*organisation does not allow it"),
        (commit(), Denied, "asks for a token"),
    ):
        with pytest.raises(kind, match=words):
            await archives.check(location)


@pytest.mark.req("PF-293")
@pytest.mark.parametrize(
    "answer, words",
    [
        (
            Answer(403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000000"}),
            "until 2023-11-14T22:13:20",
        ),
        (Answer(429, {"Retry-After": "17"}), "limits requests without a token for 17 s"),
        (Answer(429), "instances may have to wait"),
        (Answer(502), "answers 502"),
        (Answer(429, {"X-RateLimit-Reset": "9" * 30}), "instances may have to wait"),
    ],
)
async def test_what_may_pass_is_a_warning(
    archives: GitHubArchives, github: FakeGitHub, answer: Answer, words: str
) -> None:
    github.answers = [answer]
    (warning,) = await archives.check(commit())
    assert words in warning


async def test_a_host_that_only_agents_reach_is_a_warning(tokens: GitHubTokens) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (warning,) = await GitHubArchives(settings(f"http://127.0.0.1:{port}"), tokens).check(commit())
    assert "cannot ask" in warning


@pytest.mark.req("AG-530", "PF-290")
async def test_tokens_are_kept_for_the_owner_only_and_shown_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "github-tokens.json"
    tokens = GitHubTokens.open(path)
    await tokens.put("acme", TOKEN, NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert TOKEN not in f"{tokens!r} {tokens.names()!r}"
    again = GitHubTokens.open(path)
    assert again.get("acme") == TOKEN
    assert [(one.name, one.stored_at) for one in again.names()] == [("acme", NOW)]
    await again.remove("acme")
    await again.remove("acme")
    assert GitHubTokens.open(path).get("acme") is None
    assert again.generation == 1, "what was not there changes nothing"


@pytest.mark.req("AG-530", "PF-290", "AG-C30", "A11", "TS-79", "CP-157")
async def test_the_twenty_sixth_token_is_refused_and_no_other_is_lost(tokens: GitHubTokens) -> None:
    for number in range(LIMIT):
        await tokens.put(f"t{number}", f"ghp_{number}", NOW)
    with pytest.raises(LimitExceeded, match="25 tokens"):
        await tokens.put("one-more", TOKEN, NOW)
    await tokens.put("t3", TOKEN, NOW)
    assert LIMIT == len(tokens.names()) == 25
    assert tokens.get("t3") == TOKEN


@pytest.mark.parametrize("token", ["", "two words", "ghp_\n", "ghp_ü", "x" * 1025])
async def test_what_is_no_token_is_refused(tokens: GitHubTokens, token: str) -> None:
    with pytest.raises(Refused, match="no token of GitHub"):
        await tokens.put("acme", token, NOW)


def test_a_damaged_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "github-tokens.json"
    path.write_text(f'{{"tokens": {{"acme": "{TOKEN}"}}}}')
    with pytest.raises(SetupError, match=r"github-tokens\.json is damaged") as refused:
        GitHubTokens.open(path)
    assert TOKEN not in str(refused.value)


@pytest.mark.req("AG-230")
@pytest.mark.parametrize(
    "url, complaint",
    [
        ("http://github.example.org", "clear text"),
        ("ftp://x", "no address"),
        ("https://", "no address"),
        ("https://user:pw@x", "holds a user"),
        ("", "no address"),
    ],
)
def test_an_api_that_tokens_must_not_go_to_is_a_mistake(url: str, complaint: str) -> None:
    with pytest.raises(SetupError, match=complaint):
        load(None, {}, {"github.api_url": url})
