"""Durations, sizes and addresses: written by people, so read strictly."""

import pytest

from ferryman_coordinator.config.values import Address, ByteSize, Duration


@pytest.mark.parametrize(
    "text,milliseconds",
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("12h", 43_200_000),
        ("7d", 604_800_000),
        ("1h30m", 5_400_000),
    ],
)
def test_durations_are_read_and_written_alike(text: str, milliseconds: int) -> None:
    duration = Duration.parse(text)
    assert duration == milliseconds
    assert str(duration) == text


@pytest.mark.parametrize("text", ["", "30", 30, "s", "-5s", "1.5h", "5 m", "5x", None, "30S"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        Duration.parse(text)


@pytest.mark.parametrize(
    "text,size", [("0", 0), ("512MiB", 512 << 20), ("10 GiB", 10 << 30), (4096, 4096), ("7B", 7)]
)
def test_sizes_are_read(text: object, size: int) -> None:
    assert ByteSize.parse(text) == size


@pytest.mark.parametrize("text", ["", "10GB", -1, True, "1.5GiB", None])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no size"):
        ByteSize.parse(text)


def test_a_size_is_written_in_its_largest_whole_unit() -> None:
    assert [str(ByteSize(size)) for size in (0, 1023, 1024, 10 << 30)] == ["0", "1023", "1KiB", "10GiB"]


@pytest.mark.parametrize("text", ["127.0.0.1:7420", "[::1]:0", "deploy.example.org:443"])
def test_addresses_are_read_and_written_alike(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "7420", ":7420", "host", "host:", "host:http", "::1:7420", "[::1]", 7420, "h:+1"]
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no address"):
        Address.parse(text)


def test_a_port_has_sixteen_bits() -> None:
    with pytest.raises(ValueError, match="at most 65535"):
        Address.parse("host:65536")


@pytest.mark.parametrize(
    "host,expected",
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
    ],
)
def test_only_addresses_of_this_machine_alone_are_loopback(host: str, expected: bool) -> None:
    assert Address(host, 1).is_loopback is expected
