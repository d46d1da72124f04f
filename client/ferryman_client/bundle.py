"""Builds the bundle of a source directory, or takes an archive as it is.

The archive of a directory is the same, byte for byte, whoever builds it and when: entries in order, no owners, no
times but a fixed one. So pushing an unchanged directory sends nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ferryman.v1 import types_pb2
from ferryman_client.errors import BundleProblem

IGNORED_NAMES = frozenset((".git", ".svn", ".hg", ".DS_Store", "Thumbs.db", "__MACOSX"))
# 1980-01-01, the earliest time that every archive format can hold.
FIXED_TIME = 315_532_800
COMPRESSION_LEVEL = 6
_READ_BYTES = 1 << 20

_TYPES_BY_ENDING = {
    ".zip": types_pb2.BUNDLE_TYPE_ZIP,
    ".tar": types_pb2.BUNDLE_TYPE_TAR,
    ".tgz": types_pb2.BUNDLE_TYPE_TGZ,
    ".tar.gz": types_pb2.BUNDLE_TYPE_TGZ,
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """An archive on this machine's disk."""

    path: Path
    sha256: str
    size_bytes: int
    bundle_type: types_pb2.BundleType.ValueType


def take_archive(path: Path) -> Bundle:
    """Returns an archive that exists already; raises BundleProblem when it is none by its name or cannot be read."""
    for ending, bundle_type in _TYPES_BY_ENDING.items():
        if path.name.lower().endswith(ending):
            return _measured(path, bundle_type)
    if not path.exists():
        raise BundleProblem(f"there is no {path}: name a directory with an AppSpec file, or an archive")
    raise BundleProblem(f"{path} is no bundle by its name: use .zip, .tar, .tgz or .tar.gz, or a directory")


def build_bundle(source: Path, into: Path) -> Bundle:
    """Packs the directory `source` into the file `into` (tgz) and returns it.

    Links are packed as links. Sockets, pipes and devices cannot be deployed: BundleProblem names the first.
    """
    if not source.is_dir():
        raise BundleProblem(f"{source} is not a directory")
    try:
        # No file name and no time in the gzip header either.
        with into.open("wb") as raw, gzip.GzipFile("", "wb", COMPRESSION_LEVEL, raw, mtime=0) as packed:
            _write_tar(source, packed)
    except OSError as problem:
        raise BundleProblem(f"cannot build the bundle of {source}: {problem}") from problem
    return _measured(into, types_pb2.BUNDLE_TYPE_TGZ)


def _write_tar(source: Path, packed: gzip.GzipFile) -> None:
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, entry in _entries(source, ""):
            kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                raise BundleProblem(f"cannot pack {entry.path}: it is neither file, directory nor link")
            member = archive.gettarinfo(entry.path, arcname=name)
            _make_neutral(member, entry)
            if member.isfile():
                with open(entry.path, "rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)


def _make_neutral(member: tarfile.TarInfo, entry: os.DirEntry[str]) -> None:
    """Takes out of an entry what differs between two checkouts of the same content."""
    if member.islnk():
        # A second name of a file in the same tree: packed as a file of its own.
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", entry.stat().st_size
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = FIXED_TIME
    executable = stat.S_IMODE(member.mode) & stat.S_IXUSR
    member.mode = 0o755 if member.isdir() or executable else 0o644
    member.pax_headers = {}


def _entries(directory: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(directory) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name in IGNORED_NAMES:
            continue
        name = prefix + entry.name
        yield name, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), name + "/")


def _measured(path: Path, bundle_type: types_pb2.BundleType.ValueType) -> Bundle:
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as file:
            while content := file.read(_READ_BYTES):
                digest.update(content)
                size += len(content)
    except OSError as problem:
        raise BundleProblem(f"cannot read {path}: {problem.strerror}") from problem
    return Bundle(path, digest.hexdigest(), size, bundle_type)
