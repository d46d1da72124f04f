"""Which coordinator a call goes to, and with whose token."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_client.errors import ProfileError
from ferryman_client.profiles import (
    Profile,
    ProfileFile,
    current_profile,
    load_profiles,
    profiles_path,
    save_profiles,
)

STAGING = Profile(coordinator="staging:7420", ca_file="/etc/staging.pem", token_file="/etc/staging.token")
LIVE = Profile(coordinator="live:7420", ca_file="/etc/live.pem", token_file="/etc/live.token")
PEM = "-----BEGIN CERTIFICATE-----\n"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}


def test_file_is_read_back_as_written_and_private(environ: dict[str, str]) -> None:
    path = profiles_path(environ)
    content = ProfileFile(current="live", profiles={"live": LIVE, "staging": STAGING})
    save_profiles(path, content)
    assert load_profiles(path) == content
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.req("CP-019")
def test_named_profile_wins_over_environment_and_current(environ: dict[str, str]) -> None:
    save_profiles(
        profiles_path(environ), ProfileFile(current="live", profiles={"live": LIVE, "staging": STAGING})
    )
    environ |= {"FERRYMAN_COORDINATOR": "other:1", "FERRYMAN_CA": "/other.pem"}
    assert current_profile("staging", environ) == STAGING
    assert current_profile("", environ).coordinator == "other:1"
    del environ["FERRYMAN_COORDINATOR"]
    assert current_profile("", environ) == LIVE


def test_unknown_profile_is_named_with_those_known(environ: dict[str, str]) -> None:
    save_profiles(profiles_path(environ), ProfileFile(profiles={"live": LIVE}))
    with pytest.raises(ProfileError, match=r"no profile 'prod'.*known: live"):
        current_profile("prod", environ)


def test_environment_without_ca_says_which_variable(environ: dict[str, str]) -> None:
    with pytest.raises(ProfileError, match="FERRYMAN_CA"):
        current_profile("", environ | {"FERRYMAN_COORDINATOR": "other:1"})


def test_coordinator_of_this_machine_is_found(environ: dict[str, str]) -> None:
    directory = Path(environ["XDG_DATA_HOME"]) / "ferryman"
    directory.mkdir(parents=True)
    (directory / "admin.token").write_text("secret\n")
    (directory / "ca.pem").write_text(PEM)
    found = current_profile("", environ)
    assert found.coordinator == "127.0.0.1:7420"
    assert (found.ca(), found.token()) == (PEM.encode(), "secret")


@pytest.mark.parametrize("text", ["[1, 2]", "profiles: {a: {coordinatr: x}}", "a: [", "current: 7"])
def test_unusable_file_is_named(environ: dict[str, str], text: str) -> None:
    path = profiles_path(environ)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"profiles\.yaml"):
        load_profiles(path)


def test_token_from_the_environment_wins(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_TOKEN", " from-environment\n")
    assert LIVE.token() == "from-environment"


def test_missing_token_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FERRYMAN_TOKEN", raising=False)
    with pytest.raises(ProfileError, match=r"/etc/live\.token"):
        LIVE.token()


@pytest.mark.parametrize("address", ["host", "host:", ":7420", "host:http", "host:99999", "host:0", "[::"])
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(ProfileError, match="HOST:PORT"):
        Profile(coordinator=address, ca_file="x").address()


def test_a_ca_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("-----BEGIN PRIVATE KEY-----")
    with pytest.raises(ProfileError, match=r"key\.pem holds no certificate"):
        Profile(coordinator="h:1", ca_file=str(file)).ca()


@pytest.mark.parametrize("content", ["", " \n", "a b", "a\nb", "clé"])
def test_what_cannot_be_a_token_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.delenv("FERRYMAN_TOKEN", raising=False)
    file = tmp_path / "token"
    file.write_text(content)
    profile = Profile(coordinator="h:1", ca_file="x", token_file=str(file))
    with pytest.raises(ProfileError, match="holds no token"):
        profile.token()
