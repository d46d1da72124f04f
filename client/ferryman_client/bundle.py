"""Builds the bundle of a source directory, or takes an archive as it is.

The archive of a directory is the same, byte for byte, whoever builds it and when: entries in order, no owners, no
times but a fixed one; modes and links as they are. So pushing an unchanged directory sends nothing (AG-521, AG-524).
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ferryman.appspec import EntryKind
from ferryman.locations import bundle_type_of
from ferryman.v1 import types_pb2
from ferryman_client.errors import BundleProblem
from ferryman_client.tree import SourceEntry, SourceTree, scan

# The earliest time that every archive format can hold.
FIXED_DATE = (1980, 1, 1, 0, 0, 0)
COMPRESSION_LEVEL = 6
_READ_BYTES = 1 << 20
_UNIX = 3
_MSDOS_FOLDER = 0x10

BUNDLE_TYPES = {
    "zip": types_pb2.BUNDLE_TYPE_ZIP,
    "tar": types_pb2.BUNDLE_TYPE_TAR,
    "tgz": types_pb2.BUNDLE_TYPE_TGZ,
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
    if kind := bundle_type_of(path.name):
        return _measured(path, BUNDLE_TYPES[kind])
    if not path.exists():
        raise BundleProblem(f"there is no {path}: name a directory with an AppSpec file, or an archive")
    raise BundleProblem(f"{path} is no bundle by its name: use .zip, .tar, .tgz or .tar.gz, or a directory")


def build_bundle(source: Path | SourceTree, into: Path) -> Bundle:
    """Packs a directory into the file `into` (zip) and returns it.

    Links are packed as links. Sockets, pipes and devices cannot be deployed: BundleProblem names the first.
    """
    tree = scan(source) if isinstance(source, Path) else source
    try:
        with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as archive:
            for entry in tree.entries:
                _write(archive, entry)
    except (OSError, zipfile.LargeZipFile) as problem:
        raise BundleProblem(f"cannot build the bundle of {tree.root}: {problem}") from problem
    return _measured(into, types_pb2.BUNDLE_TYPE_ZIP)


def _write(archive: zipfile.ZipFile, entry: SourceEntry) -> None:
    is_folder = entry.kind is EntryKind.DIRECTORY
    try:
        entry.name.encode()
    except UnicodeEncodeError as problem:
        raise BundleProblem(
            f"cannot pack {os.fsencode(entry.name)!r}: its name is not UTF-8, which zip needs; rename it, or push a tar"
        ) from problem
    member = zipfile.ZipInfo(entry.name + ("/" if is_folder else ""), FIXED_DATE)
    member.create_system = _UNIX
    member.external_attr = (entry.mode & 0xFFFF) << 16 | (_MSDOS_FOLDER if is_folder else 0)
    match entry.kind:
        case EntryKind.DIRECTORY:
            archive.writestr(member, b"")
        case EntryKind.LINK:
            # Links have no mode of their own everywhere: the same number whatever the file system says.
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, os.fsencode(os.readlink(entry.path)))
        case EntryKind.FILE:
            member.compress_type = zipfile.ZIP_DEFLATED
            with entry.path.open("rb") as content:
                # Where its size is needed, so that the same file gives the same bytes.
                member.file_size = os.fstat(content.fileno()).st_size
                with archive.open(member, "w") as packed:
                    while piece := content.read(_READ_BYTES):
                        packed.write(piece)
        case _:
            raise BundleProblem(f"cannot pack {entry.path}: it is neither file, directory nor link")


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
