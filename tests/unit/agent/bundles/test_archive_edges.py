"""Each guard of the archive readers alone, where another one would catch the same archive as well."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ferryman_agent.bundles.entries import ArchiveEntry, EntryChecks, Kind
from ferryman_agent.bundles.formats import Format
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.sources import READ_LIMIT, Bounded
from ferryman_agent.bundles.tar_source import TarSource
from ferryman_agent.bundles.unpack import unpack
from ferryman_agent.errors import BundleError
from tests.support.bundles import Item, make_tar


class Asked(io.BytesIO):
    """Remembers how much was asked for at once."""

    most = 0

    def read(self, size: int | None = -1) -> bytes:
        self.most = max(self.most, size or 0)
        return super().read(size)


def test_nobody_gets_more_than_the_limit_at_once() -> None:
    file = Asked(b"x")
    with pytest.raises(BundleError) as error:
        Bounded(file).read(READ_LIMIT + 1)
    assert error.value.detail_code == "BUNDLE_DAMAGED"
    assert file.most == 0
    assert Bounded(file).read() == b"x"
    assert file.most == READ_LIMIT + 1


@pytest.mark.req("AG-256", "V2-106")
@pytest.mark.parametrize(
    "name, target", [("x", ".."), ("a/x", "../.."), ("a/x", "../../y"), ("x", "/"), ("x", "a/../../y")]
)
def test_a_link_that_leaves_by_its_own_text_is_refused_at_once(name: str, target: str) -> None:
    checks = EntryChecks(BundleLimits())
    with pytest.raises(BundleError, match="leaves the target directory"):
        checks.admit(ArchiveEntry(name=name, kind=Kind.LINK, target=target))


@pytest.mark.parametrize("target", ["", "a\0b"])
def test_a_link_without_a_usable_target(target: str) -> None:
    with pytest.raises(BundleError, match="usable target"):
        EntryChecks(BundleLimits()).admit(ArchiveEntry(name="x", kind=Kind.LINK, target=target))


def test_a_file_without_a_name_and_one_with_less_than_nothing() -> None:
    with pytest.raises(BundleError, match="no name"):
        EntryChecks(BundleLimits()).admit(ArchiveEntry(name="./", kind=Kind.FILE))
    with pytest.raises(BundleError, match="negative size"):
        EntryChecks(BundleLimits()).admit(ArchiveEntry(name="x", kind=Kind.FILE, size=-1))


@pytest.mark.req("V2-112")
def test_a_part_of_a_name_that_no_file_system_takes() -> None:
    with pytest.raises(BundleError, match="255 bytes"):
        EntryChecks(BundleLimits()).admit(ArchiveEntry(name="a/" + "é" * 128, kind=Kind.FILE))
    assert EntryChecks(BundleLimits()).admit(ArchiveEntry(name="a/" + "x" * 255, kind=Kind.FILE))


@pytest.mark.req("V2-111", "AG-258")
def test_the_limit_counts_what_is_written_and_not_what_the_headers_say(tmp_path: Path) -> None:
    """Copies in the place of hard links: headers without a size."""
    limits = BundleLimits(max_unpacked_bytes=150, reject_hard_links=False, disk_reserve_bytes=0)
    entries = [Item(name="a", content=b"x" * 100), Item(name="b", hard="a")]
    path = tmp_path / "bundle"
    path.write_bytes(make_tar(entries))
    with path.open("rb") as file, pytest.raises(BundleError) as error:
        unpack(TarSource(file, Format.TAR), tmp_path / "archive", limits, packed_bytes=0)
    assert error.value.detail_code == "BUNDLE_LIMIT"
    assert not (tmp_path / "archive").exists()
