"""The child that works on large bundles: does the same, says the same, and never outlives anybody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from ferryman_agent.bundles import child_hands
from ferryman_agent.bundles.building import Build
from ferryman_agent.bundles.child_hands import ChildHands
from ferryman_agent.bundles.download import download_bundle
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.route import Proxy, Route
from ferryman_agent.bundles.transport import Transport
from ferryman_agent.bundles.wanted import Attempt
from ferryman_agent.bundles.wire import attempt_of, build_of, from_line, to_line, wanted
from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.errors import BundleError
from ferryman_agent.files.layout import Layout
from tests.support.bundles import APPSPEC, GROUP, Item, description, items, make_tar, tree
from tests.support.fetching import LIMITS, Fetcher
from tests.support.misbehaving_server import Server, cut_after, stalls, status

MIB = 1024 * 1024
APP = {"appspec.yml": APPSPEC, "app/a": b"content"}


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    folder = tmp_path / "deployment"
    folder.mkdir()
    return Fetcher(folder, is_child=True)


def own_children() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "ferryman_agent.bundles.child" in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


async def download(layout: Layout, deployment: DeploymentDescription, **given: Any) -> str:
    report = await download_bundle(
        deployment,
        layout=layout,
        limits=given.pop("limits", BundleLimits(disk_reserve_bytes=0, retry_pauses=(0,))),
        max_revisions=5,
        on_progress=lambda received, total: None,
        transport=Transport(small_bytes=given.pop("small_bytes", 0)),
    )
    return report.message


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "root")
    found.prepare()
    return found


def test_what_is_wanted_survives_the_way(tmp_path: Path) -> None:
    attempt = Attempt(
        url="https://host/x?s=1",
        label="x",
        destination="/a b/\udcff",
        route=Route(
            ca_certificates="PEM",
            proxy=Proxy(host="p", port=1, user="u", password="pw"),
            no_proxy=("a", "10.0.0.0/8"),
        ),
        limits=LIMITS,
        secrets=(("Authorization", "token t"),),
        credential="c",
        sha256="0" * 64,
        size_bytes=7,
        wanted_etag="e",
        wanted_version="v",
        etag='"e"',
    )
    assert attempt_of(from_line(to_line(fetch=wanted(attempt)))["fetch"]) == attempt
    build = Build(
        bundle="/b",
        declared="zip",
        directory="/d",
        wanted_appspec="a.yml",
        limits=LIMITS,
        possible_events=("A", "B"),
        is_github=True,
    )
    assert build_of(from_line(to_line(build=wanted(build)))["build"]) == build


@pytest.mark.req("AG-222", "AG-226", "AG-216")
async def test_it_resumes_and_tells_of_its_progress(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(5 * MIB)
    server.answers = [cut_after(2 * MIB), status(503)]
    fetched = await fetcher(server.url())
    assert fetcher.destination.read_bytes() == server.data
    assert fetched.size_bytes == 5 * MIB
    assert server.ranges == [None, f"bytes={2 * MIB}-", f"bytes={2 * MIB}-"]
    assert fetcher.progress[-1] == (5 * MIB, 5 * MIB)
    assert own_children() == []


@pytest.mark.req("AG-223")
async def test_it_refuses_in_the_same_words(server: Server, tmp_path: Path) -> None:
    said = []
    for is_child in (False, True):
        folder = tmp_path / str(is_child)
        folder.mkdir()
        server.answers = [status(404, b"<Error><Code>NoSuchKey</Code></Error>")]
        error = await Fetcher(folder, is_child=is_child).refused(server.url("/x?sig=SECRET"))
        said.append((error.detail_code, error.message, error.is_retryable))
    assert said[0] == said[1]


@pytest.mark.req("AG-211", "AG-256")
async def test_a_bundle_becomes_the_same_archive_and_a_bad_one_the_same_error(
    server: Server, layout: Layout
) -> None:
    server.data = make_tar(items(APP), "gz")
    messages = []
    for ident, small in (("d-1", 0), ("d-2", MIB)):
        deployment = description(ident, url=server.url(f"/{ident}"), data=server.data, group=f"g-{ident}")
        messages.append(await download(layout, deployment, small_bytes=small))
    assert messages[0] == messages[1]
    one, two = (layout.deployment(f"g-{ident}", ident).archive for ident in ("d-1", "d-2"))
    assert tree(one) == tree(two) != {}
    server.data = make_tar([*items(APP), Item(name="../../evil", content=b"1")], "gz")
    texts = []
    for ident, small in (("d-3", 0), ("d-4", MIB)):
        deployment = description(ident, url=server.url(), data=server.data, group=f"g-{ident}")
        with pytest.raises(BundleError) as error:
            await download(layout, deployment, small_bytes=small)
        texts.append(error.value.message)
    assert texts[0] == texts[1]
    assert "'../../evil'" in texts[0]
    assert own_children() == []


@pytest.mark.req("AG-231", "V2-141")
async def test_nobody_sees_its_token(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x"
    server.answers = [stalls()]
    task = asyncio.create_task(fetcher(server.url("/x?sig=SECRET"), secrets=(("Authorization", "SECRET"),)))
    await fetcher.has(0)
    (child,) = own_children()
    seen = [*child.cmdline(), *child.environ().values()]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.seen[0].headers["Authorization"] == "SECRET"
    assert not [text for text in seen if "SECRET" in text]


async def test_cancelled_it_stops_at_once_and_keeps_what_came(server: Server, fetcher: Fetcher) -> None:
    server.data = os.urandom(3 * MIB)

    async def half(one: Server, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": one.etag})
        response.content_length = len(one.data)
        await response.prepare(request)
        await response.write(one.data[:MIB])
        await asyncio.Event().wait()
        return response

    server.answers = [half]
    task = asyncio.create_task(fetcher(server.url()))
    await fetcher.has(MIB)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert own_children() == []
    assert fetcher.destination.with_name("bundle.tar.part").exists()


async def test_a_child_that_does_not_stop_is_killed(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_hands, "HALT_SECONDS", 0.2)
    server.data = b"x" * MIB
    server.answers = [stalls()]
    task = asyncio.create_task(fetcher(server.url()))
    await fetcher.has(0)
    own_children()[0].send_signal(signal.SIGSTOP)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert own_children() == []


@pytest.mark.req("V2-121")
async def test_a_child_that_is_killed_fails_the_event_and_says_so(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x" * MIB
    server.answers = [stalls()]
    task = asyncio.create_task(fetcher(server.url()))
    await fetcher.has(0)
    own_children()[0].kill()
    with pytest.raises(BundleError, match="SIGKILL: the machine may be short of memory"):
        await task
    assert os.listdir(fetcher.destination.parent) == []


PARENT = """
import asyncio, sys
from pathlib import Path
from tests.support.fetching import Fetcher

async def main():
    await Fetcher(Path(sys.argv[2]), is_child=True)(sys.argv[1])

asyncio.run(main())
"""


async def test_it_ends_with_an_agent_that_is_killed(server: Server, fetcher: Fetcher) -> None:
    server.data = b"x" * MIB
    server.answers = [stalls()]
    reached = asyncio.Event()
    first = server.answers[0]

    async def told(one: Server, request: web.Request) -> web.StreamResponse:
        reached.set()
        return await first(one, request)

    server.answers = [told]
    place = str(fetcher.destination.parent)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, server.url(), place], cwd=os.getcwd())
    await reached.wait()
    children = psutil.Process(parent.pid).children()
    assert [one for one in children if "ferryman_agent.bundles.child" in one.cmdline()]
    parent.kill()
    parent.wait()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=10)
    assert (len(gone), alive) == (len(children), [])
    assert Path(place, "bundle.tar.part").exists()


BESIDE = """
import os, subprocess, sys
heard = int(sys.argv[1])
child = [sys.executable, "-m", "ferryman_agent.bundles.child", str(os.getpid())]
print(subprocess.Popen(child, stdin=heard, pass_fds=[heard]).pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.req("V2-256")
def test_the_kernel_ends_it_with_its_agent_also_when_its_input_stays_open() -> None:
    heard, said = os.pipe()
    with open(heard, "rb") as ours, open(said, "wb", buffering=0) as to_child:
        parent = subprocess.Popen(
            [sys.executable, "-c", BESIDE, str(heard)],
            pass_fds=[ours.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert parent.stdin
        assert parent.stdout
        with parent, parent.stdin, parent.stdout:
            child = psutil.Process(int(parent.stdout.readline()))
            nothing = Build(
                bundle="/nowhere/b", declared="tar", directory="/nowhere", wanted_appspec="", limits=LIMITS
            )
            to_child.write(to_line(build=wanted(nothing)))
            # It answers, so it works.
            assert "os_error" in from_line(parent.stdout.readline())
            parent.kill()
            gone, alive = psutil.wait_procs([child], timeout=10)
            assert (len(gone), alive) == (1, [])


@pytest.mark.req("V2-256")
def test_it_ends_at_once_where_its_agent_is_gone_already() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ferryman_agent.bundles.child", str(2**22)],
        stdin=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1


async def test_a_halted_build_leaves_nothing(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = layout.create_deployment(GROUP, "d-1")
    bundle = tmp_path / "bundle.tgz"
    bundle.write_bytes(make_tar(items({**APP, **{f"f{n}": b"x" for n in range(5000)}}), "gz"))
    hands = ChildHands()
    told = asyncio.Event()
    tell = ChildHands._tell

    def telling(self: ChildHands, line: bytes) -> None:
        tell(self, line)
        if b'"build"' in line:
            told.set()

    monkeypatch.setattr(ChildHands, "_tell", telling)
    build = Build(
        bundle=str(bundle),
        declared="tgz",
        directory=str(place.path),
        wanted_appspec="appspec.yml",
        limits=LIMITS,
    )
    task = asyncio.create_task(hands.build(build))
    await told.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await hands.close()
    assert not place.archive_temp.exists()
    assert not place.archive.exists()
    assert own_children() == []


def test_the_agent_loads_no_http_library_of_size() -> None:
    """What a child process saves must not come in by another door."""
    code = (
        "import sys, ferryman_agent.app, ferryman_agent.runtime.downloads, ferryman_agent.bundles.download;"
        "print([name for name in ('aiohttp', 'multidict', 'yarl', 'requests', 'httpx') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
