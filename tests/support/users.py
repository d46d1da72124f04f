"""A user of this machine for as long as the tests need one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.components import require_root


@contextmanager
def temporary_user() -> Iterator[pwd.struct_passwd]:
    """Make a system user with a nologin shell and a second group, and remove it; skips where that is not possible."""
    require_root()
    if shutil.which("useradd") is None:
        pytest.skip("needs useradd to make a user: apt install passwd")
    name = f"fm-hook-{os.getpid()}"
    shell = shutil.which("nologin") or "/usr/sbin/nologin"
    command = [
        "useradd",
        "--system",
        "--no-create-home",
        "--user-group",
        "--groups",
        "daemon",
        "--shell",
        shell,
        name,
    ]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield pwd.getpwnam(name)
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
