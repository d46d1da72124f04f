"""A rotation of the authority on disk, cut off at every write."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_coordinator.core.model import Instant
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.identity import rotation
from ferryman_coordinator.identity.authority import Authority
from ferryman_coordinator.keyfiles import write_file

NOW = Instant(1_764_000_000_000)
LIFETIME_MS = 365 * 86_400_000


def authority(folder: Path) -> Authority:
    return Authority.open(folder, NOW, LIFETIME_MS)


class _CutOff(Exception):
    pass


def cut_off_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies at the write, or the removal, after so many of them."""
    left = [count]

    def counted(real: object) -> object:
        def change(path: Path, *arguments: object, **options: object) -> object:
            if path.name.startswith("."):
                # Of a write that is under way.
                return real(path, *arguments, **options)  # type: ignore[operator]  # as given
            if left[0] == 0:
                raise _CutOff
            left[0] -= 1
            return real(path, *arguments, **options)  # type: ignore[operator]  # as given

        return change

    monkeypatch.setattr(rotation, "write_file", counted(write_file))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


def test_both_are_trusted_until_it_is_finished_and_the_new_one_alone_afterwards(tmp_path: Path) -> None:
    old = authority(tmp_path)
    assert rotation.state(tmp_path) is None
    begun = rotation.begin(tmp_path, NOW, LIFETIME_MS)
    assert (begun.old, begun.begun_at) == (old.fingerprint, NOW)
    both = authority(tmp_path)
    assert both.fingerprint == old.fingerprint
    assert both.signer == begun.new
    assert both.certificate_pem.startswith(old.certificate_pem)
    assert both.certificate_pem.count(b"BEGIN CERTIFICATE") == 2
    server = old.make_server_certificate(["localhost"], NOW, LIFETIME_MS)
    assert both.has_issued(server.certificate)
    rotation.finish(tmp_path)
    new = authority(tmp_path)
    assert new.fingerprint == new.signer == begun.new
    assert both.certificate_pem.endswith(new.certificate_pem)
    assert not new.has_issued(server.certificate)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.key", "ca.pem"]


def test_one_that_runs_takes_each_step_up(tmp_path: Path) -> None:
    running = authority(tmp_path)
    old = running.fingerprint
    assert not running.reload(NOW)
    begun = rotation.begin(tmp_path, NOW, LIFETIME_MS)
    assert running.reload(NOW)
    assert (running.fingerprint, running.signer) == (old, begun.new)
    assert not running.reload(NOW)
    rotation.finish(tmp_path)
    assert running.reload(NOW)
    assert (running.fingerprint, running.signer) == (begun.new, begun.new)


def test_what_cannot_be_read_leaves_the_present_one_in_force(tmp_path: Path) -> None:
    running = authority(tmp_path)
    rotation.begin(tmp_path, NOW, LIFETIME_MS)
    (tmp_path / "next.key").write_text("damaged")
    with pytest.raises(SetupError, match=r"next\.pem and next\.key: restore both"):
        running.reload(NOW)
    assert running.signer == running.fingerprint


def test_only_one_at_a_time_and_only_where_there_is_an_authority(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="there is no certificate authority"):
        rotation.begin(tmp_path, NOW, LIFETIME_MS)
    authority(tmp_path)
    with pytest.raises(SetupError, match="no rotation of the CA is under way"):
        rotation.finish(tmp_path)
    begun = rotation.begin(tmp_path, NOW, LIFETIME_MS)
    with pytest.raises(SetupError, match=f"a rotation to the CA sha256:{begun.new} is under way"):
        rotation.begin(tmp_path, NOW, LIFETIME_MS)


@pytest.mark.parametrize("done", range(2))
def test_a_beginning_that_is_cut_off_can_be_begun_again(
    tmp_path: Path, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = authority(tmp_path)
    with monkeypatch.context() as patched:
        cut_off_after(done, patched)
        with pytest.raises(_CutOff):
            rotation.begin(tmp_path, NOW, LIFETIME_MS)
    assert authority(tmp_path).signer == old.fingerprint
    begun = rotation.begin(tmp_path, NOW, LIFETIME_MS)
    assert authority(tmp_path).signer == begun.new


@pytest.mark.parametrize("done", range(4))
def test_an_end_that_is_cut_off_comes_to_its_end(
    tmp_path: Path, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = authority(tmp_path)
    begun = rotation.begin(tmp_path, NOW, LIFETIME_MS)
    with monkeypatch.context() as patched:
        cut_off_after(done, patched)
        with pytest.raises(_CutOff):
            rotation.finish(tmp_path)
    after = authority(tmp_path)
    assert after.fingerprint == (old.fingerprint if done == 0 else begun.new)
    if done == 0:
        rotation.finish(tmp_path)
    assert authority(tmp_path).certificate_pem.count(b"BEGIN CERTIFICATE") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.key", "ca.pem"]
