"""A host below a temporary directory, and an agent that installs onto it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ferryman_agent.core.messages import FileExistsBehavior, Instant
from ferryman_agent.errors import InstallError
from ferryman_agent.files.install import InstallReport, install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from tests.support.bundles import GROUP, description, put_archive, tree


class Host:
    """`srv` is where applications go. Deployments are numbered."""

    def __init__(self, path: Path) -> None:
        self.srv = path / "srv"
        self.srv.mkdir()
        self.layout = Layout(path / "agent" / "root")
        self.layout.prepare()
        self.settings = InstallSettings()
        self._count = 0

    async def install(
        self, files: Mapping[str, bytes | str], appspec: str = "", *, group: str = GROUP, **given: Any
    ) -> InstallReport:
        """Installs a revision; without an AppSpec text all of it goes to `srv/app`."""
        self._count += 1
        ident = f"d-{self._count}"
        text = appspec or "files:\n  - source: /\n    destination: SRV/app\n"
        content = f"version: 0.0\nos: linux\n{text}".replace("SRV", str(self.srv))
        archive = put_archive(self.layout, ident, {**files, "appspec.yml": content.encode()}, group)
        prepare: Callable[[Path], None] | None = given.pop("prepare", None)
        if prepare is not None:
            prepare(archive)
        return await install(
            description(ident, group=group, **given),
            layout=self.layout,
            now=Instant(1),
            settings=self.settings,
        )

    async def refused(
        self, files: Mapping[str, bytes | str], appspec: str = "", **given: Any
    ) -> InstallError:
        """Installs what must be refused, and sees that nothing but the attempt's own directory changed."""
        before, pointer = tree(self.srv), self.layout.last_successful(given.get("group", GROUP))
        journal = self.journal()
        with pytest.raises(InstallError) as refused:
            await self.install(files, appspec, **given)
        assert tree(self.srv) == before
        assert self.layout.last_successful(given.get("group", GROUP)) == pointer
        assert self.journal() == journal
        return refused.value

    def journal(self, group: str = GROUP) -> list[str]:
        """The journal's lines, with SRV for the host's own directory."""
        path = self.layout.cleanup_journal(group)
        text = os.fsdecode(path.read_bytes()) if path.exists() else ""
        return text.replace(str(self.srv), "SRV").splitlines()

    def content(self) -> dict[str, str]:
        return tree(self.srv)

    def names(self) -> set[str]:
        return set(tree(self.srv))


OVERWRITE, RETAIN = FileExistsBehavior.OVERWRITE, FileExistsBehavior.RETAIN


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is forced to the disk: for tests that install hundreds of times and cut no power."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
