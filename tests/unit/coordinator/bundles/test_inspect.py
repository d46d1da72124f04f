"""Registration looks for the AppSpec of a stored bundle and names everything that is wrong with it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from ferryman_coordinator.bundles.inspect import BundleInspector
from ferryman_coordinator.bundles.storage import BundleStorage, UploadHeader
from ferryman_coordinator.core.model import BundleLocation, BundleType
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.store.store import Store
from tests.support.clock import ManualClock

GOOD = """\
version: 0.0
os: linux
files:
  - source: index.html
    destination: /var/www
hooks:
  ApplicationStart:
    - location: scripts/start.sh
      timeout: 60
      runas: root
"""

Register = Callable[..., Coroutine[Any, Any, tuple[str, ...]]]


def packed(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
async def register(tmp_path: Path) -> AsyncIterator[Register]:
    store = await Store.open(f"sqlite+aiosqlite:///{tmp_path}/ferryman.db")
    storage = BundleStorage(tmp_path / "bundles", store, ManualClock(), size_limit=100_000_000)
    storage.prepare()
    inspector = BundleInspector(storage)

    async def call(
        content: bytes, *, said: BundleType = BundleType.ZIP, size: int | None = None
    ) -> tuple[str, ...]:
        digest = hashlib.sha256(content).hexdigest()

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        header = UploadHeader(sha256=digest, size_bytes=len(content), bundle_type=said)
        await storage.receive(header, chunks())
        location = BundleLocation(sha256=digest, size_bytes=size or len(content), bundle_type=said)
        return tuple(await inspector.inspect(location))

    yield call
    await store.close()


def web(app_spec: str | bytes = GOOD, **more: str) -> bytes:
    return packed({"appspec.yml": app_spec, "index.html": "hi", "scripts/start.sh": "#!/bin/sh\n", **more})


async def test_a_good_bundle_is_accepted_again_and_again(register: Register) -> None:
    assert await register(web()) == ()
    assert await register(web()) == ()


async def test_a_single_top_folder_is_the_root(register: Register) -> None:
    files = {"web-1/appspec.yml": GOOD, "web-1/index.html": "hi", "web-1/scripts/start.sh": "#!/bin/sh\n"}
    assert await register(packed(files)) == ()


async def refusal(register: Register, content: bytes, **options: Any) -> str:
    with pytest.raises(Invalid) as caught:
        await register(content, **options)
    assert caught.value.reason == "InvalidRevisionException"
    assert caught.value.message.startswith("cannot register bundle ")
    return caught.value.message


@pytest.mark.req("CP-011")
async def test_a_bundle_without_an_app_spec_is_refused(register: Register) -> None:
    assert "there is no appspec.yml at its root" in await refusal(register, packed({"index.html": "hi"}))


@pytest.mark.req("CP-011")
async def test_an_app_spec_in_the_wrong_place_is_pointed_at(register: Register) -> None:
    message = await refusal(register, packed({"a/b/appspec.yml": GOOD, "a/c": ""}))
    assert "found 'a/b/appspec.yml', but it must be at the root" in message


async def test_a_folder_called_like_an_app_spec_is_none(register: Register) -> None:
    assert "no plain file but a directory" in await refusal(register, packed({"appspec.yml/x": "", "y": ""}))


@pytest.mark.req("AG-268", "AG-276", "AG-284", "AG-X23")
async def test_every_mistake_in_the_app_spec_is_named_with_its_place(register: Register) -> None:
    broken = GOOD.replace("os: linux", "os: plan9").replace("ApplicationStart", "ApplicationStrat")
    message = await refusal(register, web(broken))
    assert "appspec.yml:2:" in message
    assert "plan9" in message
    assert "appspec.yml:7:" in message
    assert "ApplicationStart" in message
    assert "appspec.yml has 2 errors" in message


@pytest.mark.req("AG-276")
async def test_what_the_app_spec_names_must_be_in_the_bundle(register: Register) -> None:
    message = await refusal(register, packed({"appspec.yml": GOOD, "scripts/stop.sh": ""}))
    assert "index.html" in message
    assert "scripts/start.sh" in message


async def test_an_app_spec_of_ten_megabytes_is_refused(register: Register) -> None:
    message = await refusal(register, web("#" * 10_000_000 + "\n" + GOOD))
    assert "1 MiB" in message or "1048576" in message


@pytest.mark.parametrize(
    "source", [b"\xff\xfe\x00", b"a: [", b"", b"- 1\n", b"!!python/object/apply:os.system ['id']"]
)
async def test_nonsense_is_refused(register: Register, source: bytes) -> None:
    assert "appspec.yml has" in await refusal(register, web(source))


async def test_what_is_no_archive_is_refused(register: Register) -> None:
    assert "is no zip, tar or tgz archive" in await refusal(register, b"hello")


async def test_an_entry_that_leaves_the_directory_is_refused(register: Register) -> None:
    message = await refusal(register, web(**{"../x": "1"}))
    assert "entry '../x' leaves the target directory" in message


async def test_a_wrong_type_is_warned_of(register: Register) -> None:
    assert await register(web(), said=BundleType.TAR) == ("the bundle is said to be a tar, but is a zip",)


async def test_a_bundle_that_was_never_uploaded_is_refused(register: Register, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    store = await Store.open(f"sqlite+aiosqlite:///{tmp_path}/other/ferryman.db")
    storage = BundleStorage(tmp_path / "empty", store, ManualClock(), size_limit=1)
    location = BundleLocation(sha256="ab" * 32, size_bytes=1, bundle_type=BundleType.ZIP)
    with pytest.raises(Invalid, match="not in the coordinator's store: upload it first"):
        await BundleInspector(storage).inspect(location)
    await store.close()


async def test_another_size_is_refused(register: Register) -> None:
    assert f"has {len(web())} bytes, not 5" in await refusal(register, web(), size=5)
