"""Size and SHA-256 of bundles (AG-221, V2-065, V2-066)."""

from __future__ import annotations

import os
import re

from ferryman_agent.errors import BundleError
from ferryman_agent.files.hashing import sha256_of
from ferryman_agent.system import fs

_HEX = re.compile(r"[0-9a-f]{64}")


def normal_digest(sha256: str | None) -> str | None:
    """Returns a SHA-256 in lower-case hexadecimal; None for none. Raises BundleError for something else."""
    if not sha256:
        return None
    digest = sha256.lower().removeprefix("sha256:")
    if not _HEX.fullmatch(digest):
        raise BundleError(
            "BUNDLE_DIGEST", f"the revision's SHA-256 {sha256[:80]!r} is not 64 hexadecimal digits"
        )
    return digest


def check_digest(expected: str | None, actual: str, what: str) -> None:
    """Raises BundleError, naming both values, when a digest is expected and `actual` is another."""
    if expected is not None and expected != actual:
        raise BundleError(
            "BUNDLE_DIGEST_MISMATCH",
            f"{what} is not the bundle that was registered: its SHA-256 is {actual}, expected {expected}",
        )


def check_size(expected: int | None, actual: int, what: str) -> None:
    """Raises BundleError, naming both values, when a size is expected and `actual` is another."""
    if expected is not None and expected != actual:
        raise BundleError(
            "BUNDLE_SIZE_MISMATCH",
            f"{what} is not the bundle that was registered: it has {actual} bytes, expected {expected}",
        )


def check_version(what: str, expected: str, actual: str, name: str) -> None:
    """Compares what a store calls a version with what was registered: to the letter, but for surrounding quotes.

    Nothing expected is nothing compared. The version was part of what was asked for, so a store that does not repeat
    it may keep silent; an ETag must be told. Raises BundleError naming both values (AG-219, V2-064).
    """
    bare = actual[1:-1] if len(actual) > 1 and actual[0] == actual[-1] == '"' else actual
    if expected and expected != bare and (actual or name == "ETag"):
        code = f"BUNDLE_{name.upper()}_MISMATCH"
        said = repr(bare) if actual else "not told"
        raise BundleError(
            code, f"{what} is not the bundle that was registered: its {name} is {said}, expected {expected!r}"
        )


def verify(descriptor: int, expected: str | None, size_bytes: int | None, what: str) -> None:
    """Checks an open file against what was registered; blocks, and leaves it at its start.

    Raises BundleError, OSError.
    """
    check_size(size_bytes, fs.fstat(descriptor).st_size, what)
    if expected is not None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        check_digest(expected, sha256_of(descriptor), what)
    os.lseek(descriptor, 0, os.SEEK_SET)
