"""A user of this machine for as long as the tests need one."""

from __future__ import annotations

import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.components import require_root


@contextmanager
def temporary_user() -> Iterator[pwd.struct_passwd]:
    """Make a system user with a nologin shell and a second group, and remove it; skips where that is not possible."""
    require_root()
    if shutil.which("useradd") is None:
        pytest.skip("needs useradd to make a user: apt install passwd")
    name = f"fm-{secrets.token_hex(6)}"
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


def let_others_in(path: Path) -> None:
    """pytest's own folders are for its user alone; this lets others look into `path` and pass through those to it."""
    path.chmod(path.stat().st_mode | 0o055)
    for folder in path.parents:
        if folder == Path(tempfile.gettempdir()):
            return
        folder.chmod(folder.stat().st_mode | 0o011)
