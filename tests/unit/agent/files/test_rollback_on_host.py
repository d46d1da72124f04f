"""What a host sees of a redeployment or a rollback: a deployment like any other; nobody waits for big trees."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ferryman_agent.bundles.download import download_bundle
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.core.messages import BundleType
from ferryman_agent.files import staging
from ferryman_agent.files import tree as file_tree
from ferryman_agent.files.records import read_destinations
from tests.support.bundles import APPSPEC, GROUP, description, items, make_tar, tree

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

ROLLBACK = "codeDeployRollback"


@pytest.mark.req("AG-465", "AG-466", "AG-340", "AG-472", "V2-180")
async def test_a_rollback_is_a_deployment_like_any_other(host: Host) -> None:
    """What the failed revision installed goes, what its scripts made stays; the pointer names what is on the disk."""
    await host.install({"a": b"1", "old": b"1"})
    first = tree(host.srv), host.journal()
    await host.install({"a": b"2", "new/b": b"2"}, last_successful_deployment_id="d-1")
    (host.srv / "app/new/made-by-a-script").write_bytes(b"3")
    (host.srv / "app/a").write_bytes(b"changed by a script")
    assert host.layout.last_successful(GROUP) == host.layout.deployment(GROUP, "d-2").path
    report = await host.install(
        {"a": b"1", "old": b"1"}, deployment_creator=ROLLBACK, last_successful_deployment_id="d-1"
    )
    left = {"app/new", "app/new/made-by-a-script"}
    assert host.names() == set(first[0]) | left
    assert {name: what for name, what in tree(host.srv).items() if name not in left} == first[0]
    # The directory goes once it is empty (AG-168).
    assert host.journal() == [*first[1], "SRV/app/new"]
    assert report.removed == 1
    assert host.layout.last_successful(GROUP) == host.layout.deployment(GROUP, "d-3").path


@pytest.mark.req("AG-469", "AG-465")
async def test_the_older_revision_may_be_installed_from_an_archive_that_is_there(host: Host) -> None:
    await host.install({"a": b"1"})
    await host.install({"a": b"2"})
    archive = host.layout.deployment(GROUP, "d-1").archive
    os.rename(archive, host.layout.create_deployment(GROUP, "d-3").archive)
    await host.install({}, "files:\n  - {source: a, destination: SRV/app}\n", deployment_creator=ROLLBACK)
    assert (host.srv / "app/a").read_bytes() == b"1"


@pytest.mark.req("AG-159")
async def test_install_json_has_more_keys_and_readers_do_not_mind(host: Host) -> None:
    await host.install({"d/f": b"1"}, "files:\n  - {source: d, destination: SRV/x}\n")
    path = host.layout.install_json(GROUP)
    content = json.loads(path.read_bytes())
    assert content["deployment_id"] == "d-1"
    assert content["instructions"][1]["size"] == 1
    content["more"] = {"x": 1}
    content["instructions"][1]["digest"] = "0" * 64
    content["instructions"].append({"type": "something-new", "of": 1})
    path.write_text(json.dumps(content))
    assert read_destinations(path) == (f"{host.srv}/x", f"{host.srv}/x/f")
    error = await host.refused({"a": b"2", "appspec": b""}, "files:\n  - {source: none, destination: SRV}\n")
    assert error.detail_code == "FILES_SOURCE_NOT_FOUND"


@pytest.mark.req("AG-317")
async def test_extended_attributes_of_the_archive_stay_there(host: Host) -> None:
    def prepare(archive: Path) -> None:
        try:
            os.setxattr(archive / "a", "user.origin", b"somewhere")
        except OSError:
            pytest.skip("the file system of the temporary directory has no extended attributes")

    await host.install({"a": b"1"}, prepare=prepare)
    assert os.listxattr(host.srv / "app/a") == []


class Waiting:
    """Stands in the place of a function that takes long: it goes on only once the event loop has turned meanwhile."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self._real = real
        self._loop = asyncio.get_running_loop()
        self.calls = 0

    def __call__(self, *args: Any, **given: Any) -> Any:
        self.calls += 1
        turned = threading.Event()
        self._loop.call_soon_threadsafe(turned.set)
        assert turned.wait(10), "the event loop waited for it"
        return self._real(*args, **given)


@pytest.mark.req("AG-293")
async def test_copying_keeps_nobody_waiting(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(staging.make)
    monkeypatch.setattr("ferryman_agent.files.apply.make", waiting)
    await host.install({"a": b"1"})
    assert waiting.calls == 2
    assert (host.srv / "app/a").read_bytes() == b"1"


@pytest.mark.req("AG-179", "AG-169")
async def test_deleting_old_revisions_keeps_nobody_waiting(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for ident in ("d-1", "d-2", "d-3"):
        host.layout.create_deployment(GROUP, ident).archive.mkdir()
    bundle = tmp_path / "bundle"
    bundle.write_bytes(make_tar(items({"appspec.yml": APPSPEC})))
    waiting = Waiting(file_tree.remove_tree)
    monkeypatch.setattr("ferryman_agent.files.prune.remove_tree", waiting)
    report = await download_bundle(
        description("d-4", url=bundle.as_uri(), bundle_type=BundleType.TAR),
        layout=host.layout,
        limits=BundleLimits(),
        max_revisions=1,
        on_progress=lambda done, total: None,
    )
    assert len(report.pruned) == waiting.calls == 3


@pytest.mark.req("AG-150")
def test_a_group_s_folder_is_called_by_its_id(host: Host) -> None:
    directory = host.layout.deployment("11111111-2222-3333-4444-555555555555", "d-1").path
    assert directory == host.layout.root / "11111111-2222-3333-4444-555555555555" / "d-1"
