"""Secrets that must be read again, so that a digest will not do: sealed with a key beside the database, not in it."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.keyfiles import SECRET, read_file, write_file

_KEY_BYTES = 32
_NONCE_BYTES = 12


class Seal:
    """AES-256-GCM; a sealed text fits only what it was sealed for."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def open(cls, path: Path) -> Seal:
        """The key in that file, made when there is none. Raises SetupError."""
        return cls(key_in(path))

    def close(self, secret: str, purpose: str) -> str:
        """`secret`, sealed for `purpose`: an id, say."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), purpose.encode())
        return base64.b64encode(nonce + sealed).decode()

    def reveal(self, sealed: str, purpose: str) -> str:
        """The secret again. Raises SetupError: the key is another one, or somebody changed the database."""
        raw = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode()).decode()
        except InvalidTag as error:
            raise SetupError(
                f"cannot unseal the secret of {purpose}: the key in the data directory is not the one that it was"
                " sealed with; restore that from a backup, or make new access keys"
            ) from error


def key_in(path: Path) -> bytes:
    """A key of 32 random bytes, kept in a file of its own. Raises SetupError."""
    found = read_file(path)
    if found is None:
        found = os.urandom(_KEY_BYTES)
        write_file(path, found, SECRET)
    if len(found) != _KEY_BYTES:
        raise SetupError(f"the key in {path} is damaged: restore it from a backup")
    return found
