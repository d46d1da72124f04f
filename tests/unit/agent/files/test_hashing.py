"""Digests are right whoever computes them, and OpenSSL is loaded only for what is worth it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman_agent.files import hashing
from ferryman_agent.files.hashing import OWN_BYTES, sha256, sha256_of, short_name_hash

PROGRAM = """
import sys
from ferryman_agent.files.hashing import OWN_BYTES, sha256
for size in {sizes}:
    digest = sha256(size, is_urgent={is_urgent})
    digest.update(b"content")
print(digest.hexdigest(), "_hashlib" in sys.modules)
"""
DIGEST = hashlib.sha256(b"content").hexdigest()


@pytest.mark.parametrize(
    "sizes, with_openssl",
    [
        ("[7]", False),
        ("[OWN_BYTES] * 32", False),
        ("[OWN_BYTES] * 40", True),
        ("[OWN_BYTES + 1]", True),
        ("[None]", True),
    ],
)
def test_little_is_digested_without_openssl(sizes: str, with_openssl: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(sizes=sizes, is_urgent=True)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [DIGEST, str(with_openssl)]


def test_what_nobody_waits_for_loads_nothing() -> None:
    program = PROGRAM.format(sizes="[OWN_BYTES * 100] * 300", is_urgent=False)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [DIGEST, "False"]


def test_a_little_now_and_then_stays_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e6
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(hashing, "_lately", 0.0)
    monkeypatch.setattr(hashing, "_lately_at", now)
    assert all(hashing._is_little(OWN_BYTES) for _ in range(32))
    assert not hashing._is_little(OWN_BYTES)
    now += 32
    assert all(hashing._is_little(OWN_BYTES) for _ in range(31))


@pytest.mark.parametrize("size", [0, 1, OWN_BYTES, OWN_BYTES + 1])
def test_files_of_all_sizes_have_the_same_digest_as_ever(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        assert sha256_of(file.fileno()) == hashlib.sha256(content).hexdigest()


def test_names_beside_files_are_those_of_every_version() -> None:
    # An install that was killed may have left some, and the next version must know them.
    digest = short_name_hash(b"g-1")
    digest.update(b"name")
    assert digest.hexdigest() == hashlib.blake2b(b"g-1name", digest_size=8).hexdigest()
    assert sha256(3).digest_size == 32
