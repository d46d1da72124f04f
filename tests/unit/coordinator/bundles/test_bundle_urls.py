"""Addresses of bundles carry their own permission: whatever was changed in them, they are not believed."""

import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ferryman_coordinator.bundles.urls import BundleUrls
from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import Denied, SetupError

NOW = Instant(1_700_000_000_000)
DIGEST = "ab" * 32


def parts(url: str) -> tuple[str, str, str]:
    split = urlsplit(url)
    query = parse_qs(split.query)
    return split.path.removeprefix("/bundles/"), query["expires"][0], query["signature"][0]


def test_a_signed_address_is_believed_until_it_expires(tmp_path: Path) -> None:
    urls = BundleUrls.open(tmp_path / "key", lifetime_ms=60_000)
    signed = parts(urls.sign(DIGEST, NOW))
    urls.verify(*signed, now=Instant(NOW + 59_999))
    with pytest.raises(Denied, match="expired") as caught:
        urls.verify(*signed, now=Instant(NOW + 60_000))
    assert caught.value.reason == "UrlExpired"


def test_it_is_still_believed_after_a_restart(tmp_path: Path) -> None:
    signed = parts(BundleUrls.open(tmp_path / "key", 60_000).sign(DIGEST, NOW))
    BundleUrls.open(tmp_path / "key", 60_000).verify(*signed, now=NOW)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "cd" * 32},
        {"expires": str(NOW + 600_000)},
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "é" * 64},
        {"expires": ""},
        {"expires": "1e9"},
        {"expires": "9" * 5000},
        {"expires": "٣"},
    ],
)
def test_a_changed_address_is_not_believed(tmp_path: Path, change: dict[str, str]) -> None:
    urls = BundleUrls.open(tmp_path / "key", lifetime_ms=60_000)
    sha256, expires, signature = parts(urls.sign(DIGEST, NOW))
    given = {"sha256": sha256, "expires": expires, "signature": signature} | change
    with pytest.raises(Denied) as caught:
        urls.verify(**given, now=NOW)
    assert caught.value.reason == "InvalidSignature"


def test_an_address_of_another_coordinator_is_not_believed(tmp_path: Path) -> None:
    signed = parts(BundleUrls.open(tmp_path / "a", 60_000).sign(DIGEST, NOW))
    with pytest.raises(Denied, match="not made by this coordinator"):
        BundleUrls.open(tmp_path / "b", 60_000).verify(*signed, now=NOW)


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(SetupError, match="key is damaged"):
        BundleUrls.open(tmp_path / "key", 60_000)
