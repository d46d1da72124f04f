"""Revisions that lie elsewhere: in S3 (moto as a process) and in a private repository, deployed by real processes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman.v1 import types_pb2
from ferryman_client.bundle import build_bundle
from tests.support.fleet import Fleet, write_bundle
from tests.support.github import COMMIT, TOKEN, Answer, FakeGitHub
from tests.support.s3 import SECRET_KEY, S3Server

SUCCEEDED = types_pb2.DEPLOYMENT_STATUS_SUCCEEDED


@pytest.fixture
def outside(
    s3_server: S3Server, github: FakeGitHub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A coordinator that knows both places, and two agents that know neither."""
    home = tmp_path_factory.mktemp("f")
    # The keys are not where the agents' files are looked through.
    keys = tmp_path_factory.mktemp("keys")
    s3 = {name.removeprefix("s3."): value for name, value in s3_server.settings(keys).items()}
    config = {
        "s3": s3,
        "github": {"api_url": github.api_url},
        # So that whoever has to wait for its turn also fetches late.
        "deployments": {"prefetch_concurrency": 0},
    }
    fleet = Fleet(home, agents=2, config=config)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def source(fleet: Fleet, name: str, content: str, hooks: dict[str, str] | None = None) -> Path:
    root = fleet.home / name
    write_bundle(root, hooks or {}, {"version": content})
    return root


def installed(fleet: Fleet) -> list[str]:
    found = [agent.install_root / "srv/app/version" for agent in fleet.agents]
    return [file.read_text() if file.exists() else "" for file in found]


def holds(folder: Path, secret: str, *, but: str = "") -> list[str]:
    """Files below a folder that hold a text."""
    return [
        str(file)
        for file in folder.rglob("*")
        if file.is_file()
        and not file.is_symlink()
        and file.name != but
        and secret.encode() in file.read_bytes()
    ]


@pytest.mark.req(
    "AG-515", "AG-516", "AG-517", "AG-519", "AG-520", "AG-525", "CP-207", "CP-206", "PF-302", "PF-314"
)
def test_a_push_into_s3_is_deployed_and_no_key_reaches_an_agent(outside: Fleet, s3_server: S3Server) -> None:
    s3_server.make_bucket("e2e-push", versioned=True)
    root = source(outside, "pushed", "from s3")
    pushed = outside.cli(
        "push",
        "--application-name",
        "app",
        "--source",
        str(root),
        "--s3-location",
        "s3://e2e-push/app.zip",
        "--json",
    )
    assert pushed.returncode == 0, pushed.stderr
    revision = json.loads(pushed.stdout)
    label = revision["label"]
    assert revision["location"]["s3"]["version"]
    assert f"versionId={revision['location']['s3']['version']}" in label
    assert revision["description"].startswith("Pushed by ferryman, 20")
    assert revision["description"].endswith("+00:00")
    deployed = outside.cli("deploy", "--application", "app", "--group", "all", "--revision", label)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert installed(outside) == ["from s3"] * 2
    assert holds(outside.home, SECRET_KEY) == []
    # An agent keeps its command, with the address, where only it can read: it may have to go on by itself.
    assert [holds(agent.home, "X-Amz-Signature", but="journal") for agent in outside.agents] == [[], []]
    assert holds(outside.coordinator.home, "X-Amz-Signature") == []


@pytest.mark.req("TS-77", "CP-199", "CP-209", "PF-301", "K21", "T77")
def test_an_object_that_is_overwritten_meanwhile_changes_nothing(outside: Fleet, s3_server: S3Server) -> None:
    s3_server.make_bucket("e2e-pinned", versioned=True)
    gate = outside.home / "gate"
    wait = f"for n in $(seq 300); do [ -e {gate} ] && exit 0; sleep 0.1; done; exit 1"
    first = build_bundle(source(outside, "one", "pinned", {"BeforeInstall": wait}), outside.home / "one.zip")
    second = build_bundle(source(outside, "two", "newer"), outside.home / "two.zip")
    version, _ = s3_server.put("e2e-pinned", "app.zip", first.path.read_bytes())
    unpinned = types_pb2.RevisionLocation(
        s3=types_pb2.S3Location(bucket="e2e-pinned", key="app.zip", bundle_type=types_pb2.BUNDLE_TYPE_ZIP)
    )
    deployment_id = outside.deploy(unpinned, config="CodeDeployDefault.OneAtATime")
    outside.wait_until(
        lambda: any(agent.story() for agent in outside.agents), "the first agent to hold the first bundle"
    )
    s3_server.put("e2e-pinned", "app.zip", second.path.read_bytes())
    gate.touch()
    ended = outside.wait(deployment_id).deployment
    assert ended.status == SUCCEEDED
    assert ended.revision.s3.version == version
    assert installed(outside) == ["pinned"] * 2
    # What is newest is the next deployment's.
    assert outside.run(unpinned).deployment.status == SUCCEEDED
    assert installed(outside) == ["newer"] * 2


@pytest.mark.req("CP-200", "PF-301")
def test_a_rollback_goes_to_the_bytes_that_worked(outside: Fleet, s3_server: S3Server) -> None:
    s3_server.make_bucket("e2e-rollback", versioned=True)
    outside.create_group("back", rollback=[types_pb2.ROLLBACK_EVENT_DEPLOYMENT_FAILURE])
    good = build_bundle(source(outside, "good", "good"), outside.home / "good.zip")
    bad = build_bundle(source(outside, "bad", "bad", {"ValidateService": "exit 1"}), outside.home / "bad.zip")
    unpinned = types_pb2.RevisionLocation(
        s3=types_pb2.S3Location(bucket="e2e-rollback", key="app.zip", bundle_type=types_pb2.BUNDLE_TYPE_ZIP)
    )
    version, _ = s3_server.put("e2e-rollback", "app.zip", good.path.read_bytes())
    assert outside.run(unpinned, group="back").deployment.status == SUCCEEDED
    s3_server.put("e2e-rollback", "app.zip", bad.path.read_bytes())
    failed = outside.run(unpinned, group="back").deployment
    assert failed.status == types_pb2.DEPLOYMENT_STATUS_FAILED
    rollback = outside.wait(failed.rollback.rollback_deployment_id).deployment
    assert rollback.status == SUCCEEDED
    assert rollback.revision.s3.version == version
    assert installed(outside) == ["good"] * 2


@pytest.mark.req("TS-78", "AG-219", "CP-194")
def test_a_wrong_etag_is_refused_before_any_instance_is_touched(outside: Fleet, s3_server: S3Server) -> None:
    s3_server.make_bucket("e2e-etag")
    bundle = build_bundle(source(outside, "etag", "x"), outside.home / "etag.zip")
    _, e_tag = s3_server.put("e2e-etag", "app.zip", bundle.path.read_bytes())
    place = "s3://e2e-etag/app.zip?eTag="
    refused = outside.cli("deploy", "-a", "app", "-g", "all", "-r", f"{place}0123")
    assert refused.returncode == 2, refused.stderr
    assert e_tag in refused.stderr
    assert "'0123'" in refused.stderr
    assert json.loads(outside.cli("deployment", "list", "--json").stdout) == []
    assert [agent.story() for agent in outside.agents] == [[], []]
    done = outside.cli("deploy", "-a", "app", "-g", "all", "-r", f"{place}{e_tag}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.req(
    "PF-289", "PF-291", "PF-294", "PF-295", "K32", "AG-230", "AG-231", "AG-513", "AG-T04", "V2-141"
)
def test_a_private_commit_is_deployed_and_its_token_goes_to_the_api_only(
    outside: Fleet, github: FakeGitHub
) -> None:
    root = source(
        outside, "repository", "private", {"BeforeInstall": 'echo "commit $BUNDLE_COMMIT" >> "$0.seen"'}
    )
    github.repositories["acme/app"] = {
        str(file.relative_to(root)): file.read_text() for file in sorted(root.rglob("*")) if file.is_file()
    }
    github.private.add("acme/app")
    place = f"acme/app@{COMMIT}"
    refused = outside.cli("deploy", "-a", "app", "-g", "all", "-r", place)
    assert refused.returncode == 5
    assert "is private and needs a token" in refused.stderr

    token_file = outside.home.parent / f"{outside.home.name}.token"
    token_file.write_text(TOKEN + "\n")
    added = outside.cli("github-token", "add", "acme", "--token-file", str(token_file))
    assert added.returncode == 0, added.stderr
    assert TOKEN not in added.stdout + added.stderr + outside.cli("github-token", "list", "--json").stdout
    registered = outside.cli(
        "revision", "register", "-a", "app", "--github-location", place, "--token-name", "acme"
    )
    assert registered.returncode == 0, registered.stderr
    deployed = outside.cli("deploy", "-a", "app", "-g", "all", "-r", place)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr + outside.logs()

    assert installed(outside) == ["private"] * 2
    seen = [list(agent.home.rglob("BeforeInstall.seen")) for agent in outside.agents]
    assert [[file.read_text() for file in files] for files in seen] == [[f"commit {COMMIT}\n"]] * 2
    assert {one.authorization for one in github.of_host("archive")} == {""}
    with_token = [one for one in github.of_host("api") if one.authorization == f"token {TOKEN}"]
    assert len(with_token) == 3, "the coordinator's question and two agents"
    _dump(outside)
    assert holds(outside.home, TOKEN, but="github-tokens.json") == []


@pytest.mark.req("PF-293", "AG-239", "PF-290")
def test_a_token_that_is_revoked_is_named(outside: Fleet, github: FakeGitHub) -> None:
    token_file = outside.home / "token"
    token_file.write_text(TOKEN)
    assert outside.cli("github-token", "add", "acme", "--token-file", str(token_file)).returncode == 0
    place = f"acme/app@{COMMIT}"
    outside.cli("revision", "register", "-a", "app", "--github-location", place, "--token-name", "acme")
    github.answers.append(Answer(401))
    refused = outside.cli("deploy", "-a", "app", "-g", "all", "-r", place)
    assert refused.returncode == 4
    assert "token 'acme': it has expired or was revoked" in refused.stderr
    assert outside.cli("github-token", "remove", "acme").returncode == 0
    assert json.loads(outside.cli("github-token", "list", "--json").stdout) == []
    missing = outside.cli("deploy", "-a", "app", "-g", "all", "-r", place)
    assert missing.returncode == 2
    assert "MISSING_GITHUB_TOKEN" in missing.stderr


def _dump(fleet: Fleet) -> None:
    """Everything in the database, as text, beside its files."""
    with sqlite3.connect(f"file:{fleet.coordinator.data_dir}/ferryman.db?mode=ro", uri=True) as database:
        (fleet.home / "database.sql").write_text("\n".join(database.iterdump()))
    database.close()
