"""Bundles are the same for the same content, and hold nothing that cannot be deployed."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import time
import zipfile
from pathlib import Path

import pytest

from ferryman.appspec import parse
from ferryman.v1 import types_pb2
from ferryman_client.bundle import FIXED_DATE, build_bundle, take_archive
from ferryman_client.errors import BundleProblem
from ferryman_client.tree import is_ignored, scan


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "scripts").mkdir(parents=True)
    (root / "appspec.yml").write_text("version: 0.0\nos: linux\n")
    (root / "scripts" / "start").write_text("#!/bin/sh\n")
    (root / "scripts" / "start").chmod(0o750)
    (root / "appspec.yml").chmod(0o640)
    (root / "empty").mkdir()
    (root / "link").symlink_to("scripts/start")
    return root


@pytest.mark.req("AG-524")
def test_same_content_gives_same_bytes(source: Path, tmp_path: Path) -> None:
    first = build_bundle(source, tmp_path / "a.zip")
    for path in source.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (time.time() + 500, time.time() + 500))
    # Written in another order, into another directory.
    other = tmp_path / "other"
    for name in sorted((path.relative_to(source) for path in source.rglob("*")), reverse=True):
        target = other / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_symlink():
            target.symlink_to(os.readlink(source / name))
        elif (source / name).is_file():
            target.write_bytes((source / name).read_bytes())
        else:
            target.mkdir(exist_ok=True)
        if not target.is_symlink():
            target.chmod(stat.S_IMODE((source / name).stat().st_mode))
    for number, directory in enumerate((source, other)):
        again = build_bundle(directory, tmp_path / f"b{number}.zip")
        assert again.sha256 == first.sha256
        assert again.path.read_bytes() == first.path.read_bytes()


def test_changed_content_or_mode_gives_another_digest(source: Path, tmp_path: Path) -> None:
    first = build_bundle(source, tmp_path / "a.zip")
    (source / "appspec.yml").write_text("version: 0.0\nos: linux\n# changed\n")
    second = build_bundle(source, tmp_path / "b.zip")
    (source / "scripts" / "start").chmod(0o755)
    third = build_bundle(source, tmp_path / "c.zip")
    assert len({first.sha256, second.sha256, third.sha256}) == 3


@pytest.mark.req("AG-521")
def test_entries_keep_kind_and_mode_and_nothing_of_the_builder(source: Path, tmp_path: Path) -> None:
    (source / ".git").mkdir()
    (source / ".git" / "HEAD").write_text("secret")
    (source / ".hidden").write_text("kept")
    bundle = build_bundle(source, tmp_path / "a.zip")
    with zipfile.ZipFile(bundle.path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        assert archive.read("link") == b"scripts/start"
    assert list(members) == [".hidden", "appspec.yml", "empty/", "link", "scripts/", "scripts/start"]
    modes = {name: member.external_attr >> 16 for name, member in members.items()}
    assert modes["scripts/start"] == stat.S_IFREG | 0o750
    assert modes["appspec.yml"] == stat.S_IFREG | 0o640
    assert stat.S_ISLNK(modes["link"])
    assert stat.S_ISDIR(modes["empty/"])
    for member in members.values():
        assert (member.date_time, member.extra, member.comment) == (FIXED_DATE, b"", b"")
        assert member.create_system == 3, "Unix: otherwise nobody reads the modes"


def test_measured_figures_are_those_of_the_file(source: Path, tmp_path: Path) -> None:
    bundle = build_bundle(source, tmp_path / "a.zip")
    content = bundle.path.read_bytes()
    assert bundle.sha256 == hashlib.sha256(content).hexdigest()
    assert bundle.size_bytes == len(content)
    assert bundle.bundle_type == types_pb2.BUNDLE_TYPE_ZIP


def test_second_name_of_a_file_is_packed_as_a_file(source: Path, tmp_path: Path) -> None:
    (source / "one").write_text("content")
    os.link(source / "one", source / "two")
    bundle = build_bundle(source, tmp_path / "a.zip")
    with zipfile.ZipFile(bundle.path) as archive:
        assert [archive.read(name) for name in ("one", "two")] == [b"content"] * 2


def test_socket_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "s"
    source.mkdir()
    monkeypatch.chdir(source)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("listener")
        with pytest.raises(BundleProblem, match="listener"):
            build_bundle(source, tmp_path / "a.zip")


def test_a_name_that_zip_cannot_hold_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9")).touch()
    with pytest.raises(BundleProblem, match="not UTF-8"):
        build_bundle(source, tmp_path / "a.zip")


@pytest.mark.req("AG-522")
@pytest.mark.parametrize(
    "name",
    ["__MACOSX", ".DS_Store", "Thumbs.db", ".git", "start.sh~", ".start.sh.swp", "#start.sh#", ".#start.sh"],
)
def test_what_nobody_means_to_deploy_is_left_out_and_named(source: Path, name: str) -> None:
    (source / "scripts" / name).write_text("x")
    tree = scan(source)
    assert tree.left_out == (f"scripts/{name}",)
    assert f"scripts/{name}" not in tree.listing


@pytest.mark.parametrize("name", ["a~b", "notes.swp", ".env", "#1", "swap.sw", ".htaccess", "backup"])
def test_what_only_looks_like_it_is_packed(name: str) -> None:
    assert not is_ignored(name)


@pytest.mark.req("AG-518")
def test_hidden_files_are_left_out_where_that_is_asked_for(source: Path) -> None:
    (source / ".env").write_text("x")
    (source / ".config").mkdir()
    (source / ".config" / "a").write_text("x")
    assert {".env", ".config", ".config/a"} <= set(scan(source).listing)
    tree = scan(source, ignore_hidden_files=True)
    assert sorted(tree.left_out) == [".config", ".env"]
    assert not [name for name in tree.listing if "." in name[:1]]


def test_facts_of_scripts(source: Path) -> None:
    (source / "scripts" / "dos").write_bytes(b"#!/bin/sh\necho a\r\n")
    (source / "scripts" / "elf").write_bytes(b"\x7fELF\n\r\n")
    hooks = "".join(f"    - location: ./scripts/{name}\n" for name in ("start", "dos", "elf", "gone"))
    appspec = parse(f"version: 0.0\nos: linux\nhooks:\n  BeforeInstall:\n{hooks}".encode()).appspec
    assert appspec is not None
    facts = scan(source).scripts(appspec)
    assert sorted(facts) == ["scripts/dos", "scripts/elf", "scripts/start"]
    assert facts["scripts/start"].is_executable
    assert facts["scripts/start"].first_line == b"#!/bin/sh\n"
    assert not facts["scripts/dos"].is_executable
    assert [facts[f"scripts/{name}"].has_carriage_returns for name in ("start", "dos", "elf")] == [
        False,
        True,
        False,
    ]


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
