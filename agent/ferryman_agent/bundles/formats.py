"""What a bundle really is, by its first bytes (AG-250, AG-251, V2-100)."""

from __future__ import annotations

from enum import StrEnum

from ferryman_agent.core.messages import BundleType
from ferryman_agent.errors import BundleError
from ferryman_agent.system import fs, own

HEAD_BYTES = 512


class Format(StrEnum):
    ZIP = "zip"
    TAR = "tar"
    GZIP = "gzip-compressed tar"
    BZIP2 = "bzip2-compressed tar"
    XZ = "xz-compressed tar"


_MAGIC = (
    (b"PK\x03\x04", Format.ZIP),
    (b"PK\x05\x06", Format.ZIP),
    (b"\x1f\x8b", Format.GZIP),
    (b"BZh", Format.BZIP2),
    (b"\xfd7zXZ\x00", Format.XZ),
)
_OTHERS = (
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"!<arch>", "a Unix library or Debian package"),
    (b"\x7fELF", "a program"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
)


def detect(file: int, size: int) -> Format:
    """Returns the format of an open file. Raises BundleError, naming size and kind, for what is no archive."""
    if size == 0:
        raise BundleError("BUNDLE_EMPTY", "cannot unpack the bundle: it is empty (0 bytes)")
    head = fs.pread(file, HEAD_BYTES, 0)
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    if _is_tar_header(head):
        return Format.TAR
    message = (
        f"cannot unpack the bundle: its {size} bytes are {_describe(head)}, not a zip, tar or tgz archive"
    )
    raise BundleError("BUNDLE_NOT_AN_ARCHIVE", message)


def check_declared(found: Format, declared: BundleType) -> str | None:
    """Compares with the type that the revision was registered with.

    Returns a warning where tar family members are mixed up, which unpack alike. Raises BundleError when one is a zip
    and the other is not (V2-100), and on Windows for all but a zip (AG-534).
    """
    if own.ONLY_ZIP and found is not Format.ZIP:
        message = f"cannot unpack the bundle: it is a {found}, and agents on Windows take zip archives only"
        raise BundleError("BUNDLE_TYPE", message)
    if (found is Format.ZIP) != (declared is BundleType.ZIP):
        right = "zip" if found is Format.ZIP else "tar" if found is Format.TAR else "tgz"
        message = f"cannot unpack the bundle: the revision says {declared}, but it is a {found}; register it as {right}"
        raise BundleError("BUNDLE_TYPE", message)
    if declared is BundleType.TGZ and found is not Format.GZIP:
        return f"the revision says {declared}, but the bundle is a {found}"
    return None


def _is_tar_header(head: bytes) -> bool:
    if len(head) < HEAD_BYTES:
        return False
    if not head.strip(b"\0"):
        # An empty tar: nothing but its end mark.
        return True
    field = head[148:156].strip(b" \0")
    try:
        declared = int(field, 8)
    except ValueError:
        return False
    return declared == sum(head) - sum(head[148:156]) + 8 * ord(" ")


def _describe(head: bytes) -> str:
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"<"):
        return "an XML or HTML document"
    if start.startswith((b"{", b"[")):
        return "a JSON document"
    if head and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return "text"
    return f"of no known kind (they begin with {head[:8].hex(' ')})"
