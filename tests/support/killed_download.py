"""Kills DownloadBundle at each of its steps: `python -m tests.support.killed_download ROOT URL SHA256 SIZE`.

A step is a call that changes the disk or opens a connection, seen by an audit hook: the code under test knows nothing
of it. After each kill the event runs again, in a process of its own, as after a restart. Prints the number of steps.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

# Loaded late otherwise: after each fork anew.
from ferryman_agent.bundles import archive, fetch, origins
from ferryman_agent.bundles.download import download_bundle
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.core.messages import BundleType, RevisionSource
from ferryman_agent.files.layout import DeploymentDir, Layout
from tests.support.bundles import GROUP, description, put_archive, tree

LOADED = (archive, fetch, origins)
STEPS = frozenset(
    {
        "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.utime",
        "os.truncate", "fcntl.flock", "socket.connect",
    }
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _kill_at(step: int) -> None:
    left = step

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event in STEPS or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


class Bench:
    """A group with one deployment that is installed, and another one that is downloaded again and again."""

    def __init__(self, root: Path, url: str, sha256: str, size: int) -> None:
        self.layout = Layout(root)
        self.layout.prepare()
        put_archive(self.layout, "d-0", {"appspec.yml": b"version: 0.0\nos: linux\n", "old": b"1"})
        self.old = self.layout.deployment(GROUP, "d-0")
        self.new = self.layout.deployment(GROUP, "d-1")
        revision = RevisionSource(url=url, bundle_type=BundleType.TGZ, sha256=sha256, size_bytes=size)
        self._deployment = description("d-1", revision=revision)
        self.layout.set_last_successful(GROUP, self.old.path)
        self.reset()
        self.old_tree = tree(self.old.archive)

    def reset(self) -> None:
        shutil.rmtree(self.new.path, ignore_errors=True)
        self.layout.set_most_recent(GROUP, self.old.path)

    def run(self, kill_at: int = 0) -> bool:
        """Runs the event in a process of its own; returns whether that came to its end."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                if kill_at:
                    _kill_at(kill_at)
                asyncio.run(self._download())
                code = 0
            finally:
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in ((0, -signal.SIGKILL) if kill_at else (0,)), status
        return status == 0

    async def _download(self) -> None:
        await download_bundle(
            self._deployment,
            layout=self.layout,
            limits=BundleLimits(disk_reserve_bytes=0, retry_pauses=()),
            max_revisions=5,
            on_progress=lambda received, total: None,
        )

    def check(self, whole: dict[str, str], *, is_over: bool) -> None:
        """As before or as after, nothing between; once it is over, nothing is left beside."""
        assert tree(self.old.archive) == self.old_tree
        assert self.layout.last_successful(GROUP) == self.old.path
        recent = self.layout.most_recent(GROUP)
        assert recent in (self.old.path, self.new.path)
        if recent == self.new.path or self.new.archive.exists():
            assert tree(self.new.archive) == whole
        if is_over:
            assert recent == self.new.path
            left = {path.name for path in self.new.path.iterdir()}
            # What the server called it is not asked for again when all of it was here already (V2-067: best effort).
            assert left | {self.new.bundle_etag.name} == _expected(self.new), left


def _expected(place: DeploymentDir) -> set[str]:
    files = (place.bundle, place.bundle_digest, place.bundle_etag, place.bundle_source)
    return {path.name for path in (*files, place.archive, place.archive_digests)}


def main(root: Path, url: str, sha256: str, size: int) -> int:
    """Returns how many steps there were."""
    bench = Bench(root, url, sha256, size)
    bench.run()
    whole = tree(bench.new.archive)
    assert whole
    step = 0
    while True:
        step += 1
        bench.reset()
        if bench.run(kill_at=step):
            return step - 1
        bench.check(whole, is_over=False)
        bench.run()
        bench.check(whole, is_over=True)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
