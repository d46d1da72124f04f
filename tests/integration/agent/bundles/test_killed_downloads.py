"""DownloadBundle, killed at every step: afterwards all is as before or as after, and done again it is done."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

import pytest

from tests.support.bundles import APPSPEC, Item, items, make_tar
from tests.support.misbehaving_server import Server


@pytest.mark.req("AG-214", "AG-212", "V2-001", "V2-102", "V2-061")
@pytest.mark.timeout(120)
async def test_killed_at_each_step_it_is_as_before_or_as_after(server: Server, tmp_path: Path) -> None:
    files = {"web-1/appspec.yml": APPSPEC, "web-1/app/a": b"content", "web-1/app/b": b"more"}
    server.data = make_tar([*items(files), Item(name="web-1/app/l", link="a")], "gz")
    driver = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.killed_download",
        str(tmp_path / "root"),
        server.url(),
        hashlib.sha256(server.data).hexdigest(),
        str(len(server.data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await driver.communicate()
    assert driver.returncode == 0, errors.decode()[-3000:]
    # Prints of the log come before it.
    assert int(said.split()[-1]) > 30, "the audit hook no longer sees what is done"
