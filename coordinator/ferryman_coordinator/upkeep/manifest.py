"""What a backup says about itself: its contents with their digests, and what wrote it.

Layout, in a folder of its own or in one tar file: `ferryman.db`, `files/<as in the data directory>`, `manifest.json`.
Bundles are `bundles/<2 digits>/<sha256>`, in a folder shared by all backups beside it, so that each is copied once.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import msgspec

from ferryman_coordinator.errors import SetupError

FORMAT = "ferryman-backup-1"
MANIFEST, DATABASE, FILES, BUNDLES = "manifest.json", "ferryman.db", "files", "bundles"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file: `mode` are its permissions."""

    sha256: str
    size: int
    mode: int = 0o600


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`files` by their names in the data directory, `bundles` by digest with their sizes, `taken_at` in ms.

    `database` is None where the database is a PostgreSQL, which is backed up with its own tools. `missing` are bundles
    that the database knows and the data directory did not have.
    """

    format: str
    version: str
    taken_at: int
    schema: str
    database: Entry | None
    files: dict[str, Entry]
    bundles: dict[str, int]
    missing: list[str] = []
    digest: str = ""


def encode(manifest: Manifest) -> bytes:
    """With a digest over all the rest."""
    sealed = msgspec.structs.replace(manifest, digest=_digest(manifest))
    return msgspec.json.format(msgspec.json.encode(sealed), indent=1) + b"\n"


def decode(content: bytes, where: str) -> Manifest:
    """Raises SetupError: not a backup, damaged, or of a newer Ferryman."""
    try:
        kind = msgspec.json.decode(content, type=_Kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SetupError(f"the manifest of the backup {where} is damaged: take another backup") from error
    if kind.format != FORMAT:
        raise SetupError(
            f"the backup {where} has the format {kind.format!r}, this Ferryman reads {FORMAT}: restore it with"
            f" version {kind.version or 'that made it'}"
        )
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SetupError(f"the manifest of the backup {where} is damaged: take another backup") from error
    if manifest.digest != _digest(manifest) or not all(map(is_safe, manifest.files)):
        raise SetupError(f"the manifest of the backup {where} was changed: take another backup")
    return manifest


def is_safe(name: str) -> bool:
    """Whether it stays in the directory that it is joined to."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: str = ""


def _digest(manifest: Manifest) -> str:
    plain = msgspec.structs.replace(manifest, digest="")
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()
