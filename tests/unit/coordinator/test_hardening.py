"""In processes of their own: none of it can be taken back."""

from __future__ import annotations

import subprocess
import sys

SHOW = """
import ctypes, os, resource
from ferryman_coordinator.hardening import harden
{before}
harden()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), oct(os.umask(0)))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(soft, hard)
"""


def hardened(before: str) -> list[str]:
    command = [sys.executable, "-c", SHOW.format(before=before)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_keys_get_into_no_core_dump_and_files_are_private() -> None:
    assert hardened("")[-2] == "(0, 0) 0 0o77"


def test_as_many_files_as_the_system_allows() -> None:
    assert hardened("resource.setrlimit(resource.RLIMIT_NOFILE, (256, 900))")[-1] == "900 900"
