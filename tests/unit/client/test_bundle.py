"""Bundles are the same for the same content, and hold nothing that cannot be deployed."""

from __future__ import annotations

import hashlib
import os
import socket
import tarfile
import time
from pathlib import Path

import pytest

from ferryman.v1 import types_pb2
from ferryman_client.bundle import FIXED_TIME, build_bundle, take_archive
from ferryman_client.errors import BundleProblem


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "scripts").mkdir(parents=True)
    (root / "appspec.yml").write_text("version: 0.0\nos: linux\n")
    (root / "scripts" / "start").write_text("#!/bin/sh\n")
    (root / "scripts" / "start").chmod(0o750)
    (root / "empty").mkdir()
    (root / "link").symlink_to("scripts/start")
    return root


def test_same_content_gives_same_bytes(source: Path, tmp_path: Path) -> None:
    first = build_bundle(source, tmp_path / "a.tgz")
    for path in source.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (time.time() + 500, time.time() + 500))
    (source / "appspec.yml").chmod(0o600)
    second = build_bundle(source, tmp_path / "b.tgz")
    assert first.sha256 == second.sha256
    assert first.path.read_bytes() == second.path.read_bytes()


def test_changed_content_gives_another_digest(source: Path, tmp_path: Path) -> None:
    first = build_bundle(source, tmp_path / "a.tgz")
    (source / "appspec.yml").write_text("version: 0.0\nos: linux\n# changed\n")
    assert build_bundle(source, tmp_path / "b.tgz").sha256 != first.sha256


def test_entries_keep_kind_and_execute_bit_and_nothing_of_the_builder(source: Path, tmp_path: Path) -> None:
    (source / ".git").mkdir()
    (source / ".git" / "HEAD").write_text("secret")
    (source / ".hidden").write_text("kept")
    bundle = build_bundle(source, tmp_path / "a.tgz")
    with tarfile.open(bundle.path) as archive:
        members = {member.name: member for member in archive}
    assert sorted(members) == [".hidden", "appspec.yml", "empty", "link", "scripts", "scripts/start"]
    assert members["scripts/start"].mode == 0o755
    assert members["appspec.yml"].mode == 0o644
    assert members["link"].issym()
    assert members["link"].linkname == "scripts/start"
    assert members["empty"].isdir()
    for member in members.values():
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (
            0,
            0,
            "",
            "",
            FIXED_TIME,
        )


def test_measured_figures_are_those_of_the_file(source: Path, tmp_path: Path) -> None:
    bundle = build_bundle(source, tmp_path / "a.tgz")
    content = bundle.path.read_bytes()
    assert bundle.sha256 == hashlib.sha256(content).hexdigest()
    assert bundle.size_bytes == len(content)
    assert bundle.bundle_type == types_pb2.BUNDLE_TYPE_TGZ


def test_second_name_of_a_file_is_packed_as_a_file(source: Path, tmp_path: Path) -> None:
    (source / "one").write_text("content")
    os.link(source / "one", source / "two")
    bundle = build_bundle(source, tmp_path / "a.tgz")
    with tarfile.open(bundle.path) as archive:
        for name in ("one", "two"):
            assert archive.getmember(name).isreg()
            content = archive.extractfile(name)
            assert content is not None
            assert content.read() == b"content"


def test_socket_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "s"
    source.mkdir()
    monkeypatch.chdir(source)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("listener")
        with pytest.raises(BundleProblem, match="listener"):
            build_bundle(source, tmp_path / "a.tgz")


@pytest.mark.parametrize(
    "name, bundle_type",
    [
        ("a.zip", types_pb2.BUNDLE_TYPE_ZIP),
        ("a.tar", types_pb2.BUNDLE_TYPE_TAR),
        ("a.tgz", types_pb2.BUNDLE_TYPE_TGZ),
        ("A.TAR.GZ", types_pb2.BUNDLE_TYPE_TGZ),
    ],
)
def test_archive_is_taken_by_its_ending(
    tmp_path: Path, name: str, bundle_type: types_pb2.BundleType.ValueType
) -> None:
    (tmp_path / name).write_bytes(b"content")
    assert take_archive(tmp_path / name).bundle_type == bundle_type


@pytest.mark.parametrize("name", ["a.rar", "a", "missing.zip"])
def test_what_is_no_archive_is_refused_by_name(tmp_path: Path, name: str) -> None:
    if name != "missing.zip":
        (tmp_path / name).write_bytes(b"content")
    with pytest.raises(BundleProblem, match=name):
        take_archive(tmp_path / name)
