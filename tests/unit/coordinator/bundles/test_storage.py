"""Bundle files are whole and verified, or not there; whatever happens, nothing is left over."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ferryman_coordinator.bundles.storage import BundleStorage, UploadHeader
from ferryman_coordinator.core.model import BundleType
from ferryman_coordinator.errors import Invalid, LimitExceeded
from ferryman_coordinator.store.store import Store
from tests.support.clock import START, ManualClock
from tests.support.components import require_root

CONTENT = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite+aiosqlite:///{tmp_path}/ferryman.db")
    yield opened
    await opened.close()


@pytest.fixture
def storage(store: Store, tmp_path: Path) -> BundleStorage:
    made = BundleStorage(tmp_path / "bundles", store, ManualClock(), size_limit=10_000_000)
    made.prepare()
    return made


def header(sha256: str = DIGEST, size: int = len(CONTENT)) -> UploadHeader:
    return UploadHeader(sha256=sha256, size_bytes=size, bundle_type=BundleType.TGZ)


async def chunks(content: bytes = CONTENT, step: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), step):
        yield content[at : at + step]


async def nothing_may_be_read() -> AsyncIterator[bytes]:
    for chunk in list[bytes]():
        yield chunk
    raise AssertionError("the content was read")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_a_bundle_comes_back_as_it_was(storage: BundleStorage) -> None:
    stored = await storage.receive(header(), chunks())
    assert storage.path(DIGEST).read_bytes() == CONTENT
    assert await storage.find(DIGEST) == stored
    assert (stored.bundle_type, stored.size_bytes, stored.stored_at) == (BundleType.TGZ, len(CONTENT), START)


async def test_a_known_bundle_is_answered_without_its_content(storage: BundleStorage) -> None:
    first = await storage.receive(header(), chunks())
    assert await storage.receive(header(), nothing_may_be_read()) == first


async def test_several_uploads_of_one_bundle_get_along(storage: BundleStorage, tmp_path: Path) -> None:
    stored = await asyncio.gather(*(storage.receive(header(), chunks(step=7_000)) for _ in range(5)))
    assert {bundle.sha256 for bundle in stored} == {DIGEST}
    assert files(tmp_path / "bundles") == [f"{DIGEST[:2]}/{DIGEST}"]
    assert storage.path(DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "sha256,size,content,reason,message",
    [
        (DIGEST, len(CONTENT), CONTENT[:-1], "SizeMismatch", "cut short, 2559999 of 2560000 bytes"),
        (DIGEST, len(CONTENT), CONTENT + b"x", "SizeMismatch", "more than the announced 2560000"),
        (DIGEST, len(CONTENT), b"x" + CONTENT[1:], "DigestMismatch", "what arrived has the digest"),
        (DIGEST, len(CONTENT), b"", "SizeMismatch", "cut short, 0 of"),
        (DIGEST, 0, b"", "SizeMismatch", "announced size is 0"),
        (DIGEST.upper(), 1, b"x", "InvalidDigest", "64 lower-case"),
        ("../../../etc/passwd", 1, b"x", "InvalidDigest", "is no SHA-256"),
    ],
)
async def test_a_wrong_bundle_is_refused_and_nothing_is_left(
    storage: BundleStorage, tmp_path: Path, sha256: str, size: int, content: bytes, reason: str, message: str
) -> None:
    with pytest.raises(Invalid, match=message) as caught:
        await storage.receive(header(sha256, size), chunks(content))
    assert caught.value.reason == reason
    assert files(tmp_path / "bundles") == []
    assert await storage.find(DIGEST) is None


async def test_a_bundle_over_the_limit_is_refused_before_it_is_read(storage: BundleStorage) -> None:
    with pytest.raises(LimitExceeded, match="the limit is 10000000 .setting bundles.size_limit"):
        await storage.receive(header(size=10_000_001), nothing_may_be_read())


async def test_an_uploader_that_goes_away_leaves_nothing(storage: BundleStorage, tmp_path: Path) -> None:
    has_begun = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield CONTENT[:2_000_000]
        has_begun.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(storage.receive(header(), stalls()))
    await has_begun.wait()
    assert len(files(tmp_path / "bundles" / "incoming")) == 1
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert files(tmp_path / "bundles") == []


async def test_what_a_crash_left_is_swept_at_the_next_start(storage: BundleStorage, tmp_path: Path) -> None:
    await storage.receive(header(), chunks())
    (tmp_path / "bundles" / "incoming" / "left.over").write_bytes(b"half")
    storage.prepare()
    assert files(tmp_path / "bundles") == [f"{DIGEST[:2]}/{DIGEST}"]


async def test_what_another_coordinator_receives_is_left_alone(
    storage: BundleStorage, tmp_path: Path
) -> None:
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield CONTENT[:2_000_000]
        has_begun.set()
        await may_end.wait()
        yield CONTENT[2_000_000:]

    upload = asyncio.create_task(storage.receive(header(), slow()))
    await has_begun.wait()
    storage.prepare()
    may_end.set()
    await upload
    assert storage.path(DIGEST).read_bytes() == CONTENT


async def test_a_bundle_whose_file_was_lost_is_unknown_and_can_be_sent_again(storage: BundleStorage) -> None:
    await storage.receive(header(), chunks())
    storage.path(DIGEST).write_bytes(CONTENT[:10])
    assert await storage.find(DIGEST) is None
    await storage.receive(header(), chunks())
    assert storage.path(DIGEST).read_bytes() == CONTENT


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    require_root()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_is_nearly_full_is_told_before_anything_is_read(
    store: Store, small_disk: Path
) -> None:
    storage = BundleStorage(small_disk / "bundles", store, ManualClock(), size_limit=10_000_000)
    storage.prepare()
    with pytest.raises(LimitExceeded, match="the coordinator's disk has no room for 2560000 bytes") as caught:
        await storage.receive(header(), nothing_may_be_read())
    assert caught.value.reason == "DiskFull"


async def test_a_disk_that_fills_up_meanwhile_is_told_and_nothing_is_left(
    store: Store, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What others write between the check and the last byte.
    monkeypatch.setattr("ferryman_coordinator.bundles.storage._RESERVE", -100_000_000)
    storage = BundleStorage(small_disk / "bundles", store, ManualClock(), size_limit=10_000_000)
    storage.prepare()
    with pytest.raises(LimitExceeded, match="free some, or move the data directory"):
        await storage.receive(header(), chunks())
    assert files(small_disk) == []
