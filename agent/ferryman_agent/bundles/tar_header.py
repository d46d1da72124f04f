"""Headers of tar archives: what `tarfile` makes of them, in a third of its time where nothing is special about them."""

from __future__ import annotations

import tarfile

_PLAIN = frozenset({tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE})
_SUM_OF_BLANKS = 8 * ord(" ")


class Header(tarfile.TarInfo):
    """For `tarfile.TarFile`. Owners are left out: what is unpacked belongs to the agent."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
        """See TarInfo. Files, directories and links with ordinary numbers are read here, all others there."""
        block = bytes(buf)
        if len(block) != tarfile.BLOCKSIZE or block[156:157] not in _PLAIN or not _is_right(block):
            return super().frombuf(buf, encoding, errors)
        try:
            mode, size, modified = _number(block[100:108]), _number(block[124:136]), _number(block[136:148])
        except ValueError:
            # Large numbers are binary.
            return super().frombuf(buf, encoding, errors)
        header = cls(_text(block[:100], encoding, errors))
        header.mode, header.size, header.mtime = mode, size, modified
        header.type = block[156:157]
        if block[157]:
            header.linkname = _text(block[157:257], encoding, errors)
        if header.type == tarfile.DIRTYPE:
            header.name = header.name.rstrip("/")
        if block[345]:
            header.name = f"{_text(block[345:500], encoding, errors)}/{header.name}"
        return header


def _is_right(block: bytes) -> bool:
    try:
        declared = _number(block[148:156])
    except ValueError:
        return False
    return declared == sum(block) - sum(block[148:156]) + _SUM_OF_BLANKS


def _number(field: bytes) -> int:
    """Reads octal digits. Raises ValueError for everything else, and for what `int` knows beyond them."""
    digits = field.partition(b"\0")[0].strip()
    if digits.isdigit():
        return int(digits, 8)
    if digits:
        raise ValueError("not in octal digits")
    return 0


def _text(field: bytes, encoding: str, errors: str) -> str:
    return field.partition(b"\0")[0].decode(encoding, errors)
