"""The coordinator's own certificate: the right names, and a new one before it is too late."""

import socket
import stat
from pathlib import Path

import pytest
from cryptography import x509

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.identity import certificates
from ferryman_coordinator.identity.authority import Authority
from ferryman_coordinator.identity.server_certificate import ServerCertificate, server_names

NOW = Instant(1_700_000_000_000)
DAY = 86_400_000


def held(
    folder: Path, *names: str, now: Instant = NOW, lifetime_ms: int = 90 * DAY
) -> tuple[ServerCertificate, bool]:
    authority = Authority.open(folder, NOW, 3650 * DAY)
    certificate = ServerCertificate(authority, folder, names or ("localhost", "127.0.0.1"), lifetime_ms)
    return certificate, certificate.renew_if_due(now)


def serial(certificate: ServerCertificate) -> int:
    return certificate.current.certificate.serial_number


def test_it_holds_every_name_that_it_may_be_reached_by() -> None:
    names = server_names(["Deploy.Example.org", "2001:DB8::7"], ["10.1.2.3", "127.0.0.1"])
    for name in ("deploy.example.org", "2001:db8::7", "10.1.2.3", "localhost", "127.0.0.1", "::1"):
        assert name in names
    assert len(names) == len(set(names))
    assert names[0] == socket.gethostname().lower()


def test_listening_everywhere_adds_addresses_but_no_wildcard() -> None:
    names = server_names([], ["0.0.0.0", "::"])
    assert "0.0.0.0" not in names
    assert "::" not in names


def test_names_and_addresses_are_told_apart(tmp_path: Path) -> None:
    certificate, _ = held(tmp_path, "coordinator.example", "10.1.2.3", "::1")
    names = certificate.current.certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    assert names.get_values_for_type(x509.DNSName) == ["coordinator.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.1.2.3", "::1"]


def test_the_chain_brings_the_authority_along(tmp_path: Path) -> None:
    certificate, _ = held(tmp_path)
    leaf, root = x509.load_pem_x509_certificates(certificate.current.chain)
    leaf.verify_directly_issued_by(root)
    assert certificates.fingerprint(root) == Authority.open(tmp_path, NOW, DAY).fingerprint


def test_a_restart_keeps_it(tmp_path: Path) -> None:
    first, is_new = held(tmp_path)
    again, is_new_again = held(tmp_path, now=Instant(NOW + 59 * DAY))
    assert (is_new, is_new_again) == (True, False)
    assert serial(first) == serial(again)
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600


def test_it_is_renewed_after_two_thirds_of_its_life_while_running(tmp_path: Path) -> None:
    certificate, _ = held(tmp_path)
    before = serial(certificate)
    assert certificate.renew_if_due(Instant(NOW + 60 * DAY - 1)) is False
    assert certificate.renew_if_due(Instant(NOW + 60 * DAY)) is True
    assert serial(certificate) != before


def test_another_name_needs_another_certificate(tmp_path: Path) -> None:
    held(tmp_path, "localhost")
    _, is_new = held(tmp_path, "localhost", "new.example")
    assert is_new


def test_one_of_another_authority_is_replaced(tmp_path: Path) -> None:
    held(tmp_path)
    (tmp_path / "ca.key").unlink()
    (tmp_path / "ca.pem").unlink()
    _, is_new = held(tmp_path)
    assert is_new


@pytest.mark.parametrize("damaged", ["server.pem", "server.key"])
def test_a_damaged_one_is_replaced(tmp_path: Path, damaged: str) -> None:
    held(tmp_path)
    (tmp_path / damaged).write_bytes(b"nonsense")
    certificate, is_new = held(tmp_path)
    assert is_new
    assert certificate.current.key.public_key() == certificate.current.certificate.public_key()
