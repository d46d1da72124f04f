"""DownloadBundle and prefetch as a whole."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.bundles import archive, obtain
from ferryman_agent.bundles.archive import build_archive
from ferryman_agent.bundles.building import Built
from ferryman_agent.bundles.download import DownloadReport, download_bundle, prefetch_bundle
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.transport import Transport
from ferryman_agent.bundles.verify import verify
from ferryman_agent.core.messages import BundleType, DeploymentDescription, RevisionSource, S3Object
from ferryman_agent.errors import BundleError, EventError
from ferryman_agent.files.layout import DeploymentDir, Layout
from tests.support.bundles import (
    APPSPEC,
    GROUP,
    MAKERS,
    Item,
    description,
    items,
    make_tar,
    make_zip,
    put_archive,
    tree,
)
from tests.support.misbehaving_server import Server, cut_after, status
from tests.support.small_disk import small_disk

LIMITS = BundleLimits(retry_pauses=(0,), disk_reserve_bytes=0)
APP = {"appspec.yml": APPSPEC, "scripts/start.sh": b"#!/bin/sh\n", "app/a": b"content"}


class Agent:
    """What one instance does with bundles."""

    def __init__(self, layout: Layout, server: Server) -> None:
        self.layout = layout
        self.transport = Transport()
        self.server = server
        self.limits = LIMITS
        self.keep = 5

    def offer(self, data: bytes, ident: str = "d-1", **given: Any) -> DeploymentDescription:
        self.server.data = data
        return description(ident, url=self.server.url(), data=data, **given)

    async def download(self, deployment: DeploymentDescription) -> DownloadReport:
        return await download_bundle(
            deployment,
            layout=self.layout,
            transport=self.transport,
            limits=self.limits,
            max_revisions=self.keep,
            on_progress=lambda received, total: None,
        )

    async def prefetch(self, deployment: DeploymentDescription) -> int:
        return await prefetch_bundle(
            deployment, layout=self.layout, limits=self.limits, transport=self.transport
        )

    def place(self, ident: str = "d-1") -> DeploymentDir:
        return self.layout.deployment(GROUP, ident)

    async def refused(self, deployment: DeploymentDescription, code: str) -> BundleError:
        """Sees that a download fails and leaves neither an archive nor a changed pointer."""
        pointer = self.layout.most_recent(GROUP)
        with pytest.raises(BundleError) as error:
            await self.download(deployment)
        assert error.value.detail_code == code, error.value
        place = self.place(deployment.deployment_id)
        assert not place.archive.exists()
        assert not place.archive_temp.exists()
        assert not list(place.path.glob("*.part*"))
        assert self.layout.most_recent(GROUP) == pointer
        return error.value


@pytest.fixture
def agent(tmp_path: Path, server: Server) -> Agent:
    layout = Layout(tmp_path / "root")
    layout.prepare()
    return Agent(layout, server)


@pytest.mark.req(
    "AG-211", "AG-245", "AG-246", "AG-247", "AG-199", "V2-061", "V2-068", "V2-072", "V2-063", "V2-067"
)
@pytest.mark.parametrize("kind", list(MAKERS))
async def test_the_archive_the_notes_and_the_pointer(agent: Agent, kind: str) -> None:
    make, bundle_type = MAKERS[kind]
    report = await agent.download(agent.offer(make(items(APP)), bundle_type=bundle_type))
    place = agent.place()
    assert {name: (place.archive / name).read_bytes() for name in APP} == APP
    assert stat.S_IMODE(place.archive.stat().st_mode) == 0o755
    assert stat.S_IMODE(place.bundle.stat().st_mode) == 0o600
    assert place.bundle_source.read_text() == "downloaded"
    assert place.bundle_etag.read_text() == "v1"
    assert agent.layout.most_recent(GROUP) == place.path
    assert agent.layout.last_successful(GROUP) is None
    assert report.message == "Succeeded: BundleSource=downloaded"
    assert (report.files, report.warnings) == (3, ())


@pytest.mark.req("AG-212")
async def test_doing_it_again_gives_the_same(agent: Agent) -> None:
    deployment = agent.offer(make_tar(items(APP), "gz"))
    await agent.download(deployment)
    before = tree(agent.place().archive)
    (agent.place().archive / "left-by-a-hook").touch()
    await agent.download(deployment)
    assert tree(agent.place().archive) == before
    assert len(agent.server.seen) == 1


@pytest.mark.req("AG-253", "AG-254", "AG-H19", "AG-T01", "AG-T02", "V2-120", "V2-119", "AG-236", "AG-X48")
@pytest.mark.parametrize("extra", [{}, {"__MACOSX/x": b"1", ".DS_Store": b"2"}])
async def test_a_single_top_folder_is_lifted(agent: Agent, extra: dict[str, bytes]) -> None:
    data = make_zip(
        [Item(name="web-1/", mode=0o700), *items({f"web-1/{name}": c for name, c in APP.items()} | extra)]
    )
    await agent.download(agent.offer(data, bundle_type=BundleType.ZIP))
    assert {path.name for path in agent.place().archive.iterdir()} == {"appspec.yml", "scripts", "app"}
    assert stat.S_IMODE(agent.place().archive.stat().st_mode) == 0o755
    assert not agent.place().archive_temp.exists()


@pytest.mark.req("AG-253")
async def test_nothing_is_lifted_without_an_appspec_in_it_or_with_a_neighbour(agent: Agent) -> None:
    deep = {"only/readme": b"1", "only/conf/appspec.yml": APPSPEC}
    error = await agent.refused(agent.offer(make_tar(items(deep), "gz")), "APPSPEC_MISSING")
    assert "only/conf/appspec.yml" in error.message
    neighbour = {"web/appspec.yml": APPSPEC, "other": b"1"}
    await agent.refused(agent.offer(make_tar(items(neighbour), "gz"), "d-2"), "APPSPEC_MISSING")


@pytest.mark.req("AG-264")
async def test_an_appspec_that_is_a_link_is_no_appspec(agent: Agent) -> None:
    entries = [Item(name="real.yml", content=APPSPEC), Item(name="appspec.yml", link="real.yml")]
    error = await agent.refused(agent.offer(make_tar(entries, "gz")), "APPSPEC_MISSING")
    assert "no plain file" in error.message


@pytest.mark.req("AG-255", "AG-264", "AG-T03", "V2-073", "AG-213")
async def test_only_one_level_is_lifted_and_the_message_says_where_the_appspec_is(agent: Agent) -> None:
    data = make_tar(items({"a/b/appspec.yml": APPSPEC}), "gz")
    error = await agent.refused(agent.offer(data), "APPSPEC_MISSING")
    assert "a/b/appspec.yml" in error.message
    assert str(agent.place().archive / "appspec.yml") in error.message


@pytest.mark.req("AG-213", "AG-284", "AG-V04", "AG-268")
async def test_a_broken_appspec_fails_with_its_code_and_place(agent: Agent) -> None:
    data = make_tar(items({"appspec.yml": b"version: 0.0\nos: Linux\nfiles: x\n"}), "gz")
    error = await agent.refused(agent.offer(data), "APPSPEC_OS")
    assert "appspec.yml:2:5" in error.message
    assert "FILES_SHAPE" in error.message


@pytest.mark.req("AG-277", "AG-263", "AG-T27", "V2-153")
async def test_what_a_host_tolerates_is_a_warning(agent: Agent) -> None:
    files = {"appspec.yml": APPSPEC + b"hook: {}\n", "appspec.yaml": APPSPEC}
    report = await agent.download(agent.offer(make_tar(items(files), "gz")))
    assert any("UNKNOWN_KEY" in warning for warning in report.warnings)
    assert any("appspec.yml is used" in warning for warning in report.warnings)


@pytest.mark.req("AG-262", "AG-T26", "V2-170", "AG-C16", "AG-H12")
async def test_appspec_yaml_is_found(agent: Agent) -> None:
    await agent.download(agent.offer(make_tar(items({"appspec.yaml": APPSPEC}), "gz")))
    assert (agent.place().archive / "appspec.yaml").exists()


async def test_an_appspec_of_ten_megabytes(agent: Agent) -> None:
    data = make_tar(items({"appspec.yml": APPSPEC + b"# padding\n" * 1_000_000}), "gz")
    assert "1048576" in (await agent.refused(agent.offer(data), "APPSPEC_TOO_LARGE")).message


@pytest.mark.req("AG-256", "AG-T11", "V2-103")
async def test_a_hostile_bundle_is_thrown_away_with_its_archive(agent: Agent, tmp_path: Path) -> None:
    data = make_tar([*items(APP), Item(name="../../evil", content=b"1")], "gz")
    before = {path for path in tmp_path.rglob("*") if "d-1" not in str(path)}
    error = await agent.refused(agent.offer(data), "BUNDLE_UNSAFE_ENTRY")
    assert "'../../evil'" in error.message
    assert not agent.place().bundle.exists()
    assert {path for path in tmp_path.rglob("*") if "d-1" not in str(path)} == before | {
        agent.layout.group(GROUP)
    }


@pytest.mark.req("AG-251", "AG-T13")
async def test_an_error_page_instead_of_a_bundle(agent: Agent) -> None:
    error = await agent.refused(agent.offer(b"<html>please log in</html>"), "BUNDLE_NOT_AN_ARCHIVE")
    assert "HTML" in error.message


@pytest.mark.req("V2-100")
async def test_a_zip_that_was_registered_as_tgz(agent: Agent) -> None:
    await agent.refused(agent.offer(make_zip(items(APP))), "BUNDLE_TYPE")


@pytest.mark.req("V2-065")
async def test_a_bundle_cut_short_and_one_with_another_digest(agent: Agent) -> None:
    data = make_tar(items(APP), "gz")
    deployment = agent.offer(data)
    agent.server.answers = [cut_after(50)] * 5
    await agent.refused(deployment, "BUNDLE_UNREACHABLE")
    agent.server.answers = []
    agent.server.data = data[:-1] + bytes([data[-1] ^ 1])
    await agent.refused(deployment, "BUNDLE_DIGEST_MISMATCH")
    agent.server.data = data[:-1]
    await agent.refused(deployment, "BUNDLE_SIZE_MISMATCH")
    agent.server.data = data
    await agent.download(deployment)


@pytest.mark.req("V2-065")
async def test_a_digest_can_be_demanded(agent: Agent) -> None:
    agent.limits = BundleLimits(require_digest=True, disk_reserve_bytes=0)
    agent.server.data = make_tar(items(APP), "gz")
    await agent.refused(description("d-1", url=agent.server.url()), "BUNDLE_UNVERIFIED")


async def test_a_digest_that_is_none(agent: Agent) -> None:
    revision = RevisionSource(url=agent.server.url(), bundle_type=BundleType.TGZ, sha256="abc")
    await agent.refused(description("d-1", revision=revision), "BUNDLE_DIGEST")


# Prefetch and reuse


@pytest.mark.req("AG-217", "V2-090")
async def test_a_prefetched_bundle_is_not_fetched_again(agent: Agent) -> None:
    deployment = agent.offer(make_tar(items(APP), "gz"))
    assert await agent.prefetch(deployment) == len(agent.server.data)
    assert not agent.place().archive.exists()
    assert agent.layout.most_recent(GROUP) is None
    report = await agent.download(deployment)
    assert report.origin == "downloaded"
    assert len(agent.server.seen) == 1


@pytest.mark.req("AG-217", "V2-080", "V2-086", "V2-087", "V2-068")
async def test_an_earlier_deployment_of_the_group_has_it(agent: Agent) -> None:
    data = make_tar(items(APP), "gz")
    await agent.download(agent.offer(data))
    report = await agent.download(agent.offer(data, "d-2"))
    assert report.origin == "archive-reuse"
    assert agent.place("d-2").bundle_source.read_text() == "archive-reuse"
    assert agent.place("d-2").bundle_etag.read_text() == "v1"
    assert agent.place("d-2").bundle.stat().st_ino == agent.place("d-1").bundle.stat().st_ino
    assert tree(agent.place("d-2").archive) == tree(agent.place("d-1").archive)
    assert len(agent.server.seen) == 1


@pytest.mark.req("V2-081", "V2-090")
@pytest.mark.parametrize("damage", ["changed", "gone", "link", "short"])
async def test_what_was_changed_since_is_downloaded_instead(agent: Agent, damage: str) -> None:
    data = make_tar(items(APP), "gz")
    deployment = agent.offer(data)
    await agent.download(deployment)
    bundle = agent.place().bundle
    if damage == "changed":
        bundle.write_bytes(data[:-1] + b"!")
    elif damage == "short":
        bundle.write_bytes(data[:-1])
    else:
        bundle.unlink()
        if damage == "link":
            bundle.symlink_to("/etc/hostname")
    for again in (deployment, agent.offer(data, "d-2")):
        agent.server.seen.clear()
        await agent.download(again)
        assert agent.place(again.deployment_id).bundle.read_bytes() == data
    assert tree(agent.place("d-2").archive) == tree(agent.place().archive)


async def test_a_failed_prefetch_says_why_and_leaves_nothing(agent: Agent) -> None:
    deployment = agent.offer(make_tar(items(APP), "gz"))
    agent.server.answers = [status(404)]
    with pytest.raises(BundleError, match="no such bundle"):
        await agent.prefetch(deployment)
    assert os.listdir(agent.place().path) == []


async def test_prefetch_and_download_at_once_do_not_hurt_each_other(agent: Agent) -> None:
    deployment = agent.offer(make_tar(items({**APP, "big": os.urandom(3_000_000)}), "gz"))
    await asyncio.gather(agent.prefetch(deployment), agent.download(deployment))
    assert (agent.place().archive / "big").stat().st_size == 3_000_000


# Local bundles


@pytest.mark.req("AG-241", "V2-069")
async def test_a_local_file_is_linked(agent: Agent, tmp_path: Path) -> None:
    local = tmp_path / "my bundle%.tgz"
    local.write_bytes(make_tar(items(APP), "gz"))
    url = local.as_uri()
    await agent.download(description("d-1", url=url))
    assert os.readlink(agent.place().bundle) == str(local)
    assert (agent.place().archive / "app/a").read_bytes() == b"content"
    await agent.refused(description("d-2", url=tmp_path.as_uri(), data=b"x"), "BUNDLE_DIGEST")
    await agent.refused(description("d-3", url="file:///not/there"), "BUNDLE_NOT_FOUND")
    await agent.refused(description("d-4", url="file://other-host/x"), "BUNDLE_URL")


@pytest.mark.req("PF-280", "V2-065")
async def test_a_local_file_with_a_digest_is_copied_and_verified(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write to it could change it after it was verified."""
    data = make_tar(items(APP), "gz")
    local = tmp_path / "bundle.tgz"
    local.write_bytes(data)

    def build_late(*args: Any, **given: Any) -> Built:
        local.write_bytes(make_tar(items(APP | {"app/a": b"not what was verified"}), "gz"))
        return build_archive(*args, **given)

    monkeypatch.setattr(archive, "build_archive", build_late)
    await agent.download(description("d-1", url=local.as_uri(), data=data))
    assert (agent.place().archive / "app/a").read_bytes() == b"content"
    assert not agent.place().bundle.is_symlink()
    assert stat.S_IMODE(agent.place().bundle.stat().st_mode) == 0o600
    monkeypatch.undo()
    await agent.download(description("d-2", url=local.as_uri(), data=data))
    assert agent.place("d-2").bundle_source.read_text() == "archive-reuse"
    agent.layout.deployment(GROUP, "d-1").bundle_digest.unlink()
    agent.layout.deployment(GROUP, "d-2").bundle_digest.unlink()
    await agent.refused(description("d-3", url=local.as_uri(), data=data), "BUNDLE_SIZE_MISMATCH")
    local.write_bytes(data[:-1] + b"!")
    await agent.refused(description("d-4", url=local.as_uri(), data=data), "BUNDLE_DIGEST_MISMATCH")
    assert not agent.place("d-4").bundle.exists()


@pytest.mark.req("AG-242", "AG-244", "AG-212", "V2-069")
async def test_a_local_directory_is_copied(agent: Agent, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "appspec.yml").write_bytes(APPSPEC)
    (source / ".hidden").write_bytes(b"1")
    (source / "sub" / "link").symlink_to("../.hidden")
    for _ in range(2):
        await agent.download(description("d-1", url=source.as_uri()))
        assert tree(agent.place().archive) == tree(source)
    assert not agent.place().bundle.exists()


@pytest.mark.req("AG-243")
async def test_a_directory_that_contains_the_agents_own_is_refused(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "appspec.yml").write_bytes(APPSPEC)
    await agent.refused(description("d-1", url=tmp_path.as_uri()), "BUNDLE_NESTED")
    (tmp_path / "link").symlink_to(tmp_path)
    await agent.refused(description("d-2", url=(tmp_path / "link").as_uri()), "BUNDLE_NESTED")


# Retention, disk, ids


@pytest.mark.req("AG-169", "AG-170", "AG-171", "AG-T15", "AG-T16", "AG-175", "V2-070")
async def test_old_revisions_are_pruned(agent: Agent) -> None:
    data = make_tar(items(APP), "gz")
    for number in range(1, 5):
        put_archive(agent.layout, f"d-{number}", {"x": b"1"})
        os.utime(agent.place(f"d-{number}").path, (number, number))
    agent.layout.set_last_successful(GROUP, agent.place("d-1").path)
    agent.layout.set_most_recent(GROUP, agent.place("d-4").path)
    agent.keep = 1
    report = await agent.download(agent.offer(data, "d-5"))
    assert report.pruned == ("d-2", "d-3", "d-4")
    assert set(os.listdir(agent.layout.group(GROUP))) == {"d-1", "d-5"}


@pytest.mark.req("AG-175", "AG-169")
async def test_a_failed_download_leaves_what_the_pointers_name(agent: Agent) -> None:
    for number in range(1, 4):
        put_archive(agent.layout, f"d-{number}", {"x": b"1"})
        os.utime(agent.place(f"d-{number}").path, (number, number))
    agent.layout.set_most_recent(GROUP, agent.place("d-2").path)
    agent.keep = 1
    agent.server.answers = [status(404)]
    with pytest.raises(BundleError):
        await agent.download(agent.offer(b"x", "d-4"))
    assert set(os.listdir(agent.layout.group(GROUP))) == {"d-2", "d-4"}


@pytest.mark.req("AG-249", "AG-T12", "AG-H07", "V2-121", "AG-215", "V2-074")
@pytest.mark.parametrize("is_child", [False, True])
@pytest.mark.parametrize("kind", ["zip", "tgz"])
async def test_a_disk_that_is_too_small_to_unpack(
    server: Server, tmp_path: Path, kind: str, is_child: bool
) -> None:
    make, bundle_type = MAKERS[kind]
    with small_disk(tmp_path / "disk", 2 * 1024 * 1024) as disk:
        agent = Agent(Layout(disk / "root", state_dir=tmp_path / "state"), server)
        agent.transport.small_bytes = 0 if is_child else 1 << 20
        agent.layout.prepare()
        data = make(items({**APP, "zeros": bytes(4_000_000)}))
        error = await agent.refused(agent.offer(data, bundle_type=bundle_type), "BUNDLE_DISK_FULL")
        assert str(disk) in error.message
        await agent.download(agent.offer(make(items(APP)), "d-2", bundle_type=bundle_type))


@pytest.mark.req("AG-148", "AG-T76", "V2-135")
async def test_an_unsafe_id_is_refused_before_anything_is_made(agent: Agent, tmp_path: Path) -> None:
    before = tree(tmp_path)
    for deployment in (agent.offer(b"x", "../../x"), agent.offer(b"x", group="../x")):
        with pytest.raises(EventError) as error:
            await agent.download(deployment)
        assert error.value.detail_code == "UNSAFE_ID"
    assert tree(tmp_path) == before


async def test_a_cancelled_unpacking_leaves_nothing(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = agent.offer(make_tar(items({**APP, **{f"f{n}": b"x" for n in range(50)}}), "gz"))
    loop = asyncio.get_running_loop()
    reached = asyncio.Event()
    real = os.utime

    def slow(*args: Any, **given: Any) -> None:
        loop.call_soon_threadsafe(reached.set)
        real(*args, **given)

    monkeypatch.setattr(os, "utime", slow)
    task = asyncio.create_task(agent.download(deployment))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not agent.place().archive_temp.exists()
    assert not agent.place().archive.exists() or agent.layout.most_recent(GROUP) is None


# What an earlier deployment left, recognised by what names it for good


def an_object(agent: Agent, data: bytes, ident: str, **given: str) -> DeploymentDescription:
    agent.server.data = data
    s3 = S3Object(bucket="b", key="k", **given)
    revision = RevisionSource(url=agent.server.url(f"/b/k?sig={ident}"), bundle_type=BundleType.TGZ, s3=s3)
    return description(ident, revision=revision)


@pytest.mark.req("V2-080", "V2-082", "V2-090", "AG-217", "K14")
async def test_the_same_version_of_an_object_is_not_fetched_again(agent: Agent) -> None:
    data = make_tar(items(APP), "gz")
    await agent.download(an_object(agent, data, "d-1", version="v1"))
    report = await agent.download(an_object(agent, data, "d-2", version="v1"))
    assert report.origin == "archive-reuse"
    assert len(agent.server.seen) == 1
    for other in ({"version": "v2"}, {"version": "v1", "etag": "v1"}, {}):
        agent.server.seen.clear()
        assert (await agent.download(an_object(agent, data, "d-3", **other))).origin == "downloaded"
        assert len(agent.server.seen) == 1


@pytest.mark.req("V2-090", "V2-081")
async def test_a_version_whose_bytes_were_changed_on_the_disk_is_fetched_again(agent: Agent) -> None:
    data = make_tar(items(APP), "gz")
    await agent.download(an_object(agent, data, "d-1", version="v1"))
    agent.place("d-1").bundle.write_bytes(data[:-1] + b"!")
    assert (await agent.download(an_object(agent, data, "d-2", version="v1"))).origin == "downloaded"
    assert (agent.place("d-2").archive / "app/a").read_bytes() == b"content"


@pytest.mark.req("V2-089")
async def test_reuse_can_be_switched_off_and_a_prefetch_still_counts(agent: Agent) -> None:
    agent.limits = replace(LIMITS, reuse_archives=False)
    data = make_tar(items(APP), "gz")
    await agent.download(agent.offer(data))
    second = agent.offer(data, "d-2")
    await agent.prefetch(second)
    assert len(agent.server.seen) == 2
    assert (await agent.download(second)).origin == "downloaded"
    assert len(agent.server.seen) == 2


@pytest.mark.req("V2-084", "V2-083")
async def test_only_other_deployments_of_the_same_group_are_looked_at(agent: Agent) -> None:
    data = make_tar(items(APP), "gz")
    await agent.download(agent.offer(data, "d-1", group="other"))
    agent.server.seen.clear()
    assert (await agent.download(agent.offer(data, "d-2"))).origin == "downloaded"
    group = agent.layout.group(GROUP)
    (group / "d-9").symlink_to(agent.layout.group("other") / "d-1")
    agent.place("d-2").bundle_digest.unlink()
    assert (await agent.download(agent.offer(data, "d-3"))).origin == "downloaded"
    assert len(agent.server.seen) == 2


@pytest.mark.req("V2-088", "V2-085", "V2-108")
async def test_what_is_reused_is_looked_at_as_strictly(agent: Agent) -> None:
    spoilt = make_tar([*items(APP), Item(name="app/su", content=b"x", mode=0o4755)], "gz")
    agent.limits = replace(LIMITS, reject_set_id=False)
    await agent.download(agent.offer(spoilt))
    agent.limits = LIMITS
    error = await agent.refused(agent.offer(spoilt, "d-2"), "BUNDLE_UNSAFE_ENTRY")
    assert "set-user-id" in error.message


@pytest.mark.req("V2-071", "AG-175")
async def test_the_source_of_a_reuse_is_not_pruned_meanwhile(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_tar(items(APP), "gz")
    await agent.download(agent.offer(data, "d-1"))
    os.utime(agent.place("d-1").path, (1, 1))
    put_archive(agent.layout, "d-2", {"x": b"1"})
    agent.layout.set_most_recent(GROUP, agent.place("d-2").path)
    agent.keep = 1
    loop = asyncio.get_running_loop()
    reached, go_on = asyncio.Event(), threading.Event()
    real = verify

    def slow(*args: Any) -> None:
        loop.call_soon_threadsafe(reached.set)
        assert go_on.wait(20)
        real(*args)

    monkeypatch.setattr(obtain, "verify", slow)
    prefetch = asyncio.create_task(agent.prefetch(agent.offer(data, "d-3")))
    await reached.wait()
    monkeypatch.setattr(obtain, "verify", real)
    pruned = (await agent.download(agent.offer(make_tar(items({**APP, "b": b"1"}), "gz"), "d-4"))).pruned
    assert "d-1" not in pruned
    assert agent.place("d-1").bundle.exists()
    go_on.set()
    await prefetch
    assert agent.place("d-3").bundle_source.read_text() == "archive-reuse"
    assert "d-1" in (await agent.download(agent.offer(data, "d-4"))).pruned


@pytest.mark.req("V2-071")
async def test_revisions_have_a_budget_of_bytes_besides_their_number(agent: Agent) -> None:
    for number in range(1, 4):
        put_archive(agent.layout, f"d-{number}", {"x": b"1" * 100_000})
        os.utime(agent.place(f"d-{number}").path, (number, number))
    agent.limits = replace(LIMITS, max_revisions_bytes=150_000)
    report = await agent.download(agent.offer(make_tar(items(APP), "gz"), "d-4"))
    assert report.pruned == ("d-1", "d-2")
