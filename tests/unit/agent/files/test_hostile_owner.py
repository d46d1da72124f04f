"""Root installs below a directory that belongs to somebody who would like to be root."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferryman_agent.core.install_facts import Attributes
from ferryman_agent.core.messages import FileExistsBehavior
from ferryman_agent.errors import InstallError
from ferryman_agent.files import install as install_module
from ferryman_agent.files.access import set_link_owner
from ferryman_agent.files.links import real_folder
from ferryman_agent.files.tree import Folders
from ferryman_agent.files.undo import attributes_of, restore_attributes
from tests.support.components import require_root

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

APP = 54_321
"""Number of a user who owns the application's directory; needs no account."""

INTO_STATIC = "files:\n  - {source: f, destination: SRV/app/static}\n"
GIVEN_AWAY = (
    "files:\n  - {source: f, destination: SRV/app}\n"
    f"permissions:\n  - {{object: SRV/app, owner: '{APP}', group: '{APP}', type: [file]}}\n"
)


@pytest.fixture
def system(host: Host) -> Path:
    """A directory of root's, with a file that nobody else may read; `srv/app` belongs to APP."""
    require_root()
    system = host.srv.parent / "system"
    system.mkdir()
    (system / "f").write_bytes(b"root's own")
    (system / "f").chmod(0o600)
    (host.srv / "app").mkdir()
    os.chown(host.srv / "app", APP, APP)
    return system


def link(path: Path, target: Path | str, owner: int) -> None:
    path.symlink_to(target)
    os.lchown(path, owner, owner)


def owner(path: Path) -> int:
    return path.lstat().st_uid


@pytest.mark.req("AG-304", "V2-214")
@pytest.mark.parametrize("behavior", list(FileExistsBehavior))
async def test_a_link_of_somebody_else_leads_root_nowhere(
    host: Host, system: Path, behavior: FileExistsBehavior
) -> None:
    link(host.srv / "app" / "static", system, APP)
    error = await host.refused({"f": b"1"}, INTO_STATIC, file_exists_behavior=behavior)
    assert error.detail_code == "FILES_PARENT_DISTRUSTED"
    assert f"{host.srv}/app/static" in error.message
    assert (system / "f").read_bytes() == b"root's own"
    assert os.listdir(system) == ["f"]


async def test_nothing_is_removed_through_it_either(host: Host, system: Path) -> None:
    """Where the link stands now the group had installed something."""
    (host.srv / "app" / "static").mkdir()
    await host.install({"f": b"1"}, INTO_STATIC)
    (host.srv / "app" / "static").rename(host.srv / "app" / "elsewhere")
    link(host.srv / "app" / "static", system, APP)
    await host.install({"g": b"1"}, "files: []\n")
    assert (system / "f").read_bytes() == b"root's own"


@pytest.mark.req("AG-304")
@pytest.mark.parametrize("owners", [(0, 0), (0, APP), (APP, APP)])
async def test_links_of_root_and_of_the_directory_s_own_owner_are_followed(
    host: Host, system: Path, owners: tuple[int, int]
) -> None:
    of_link, of_directory = owners
    os.chown(system, of_directory, of_directory)
    link(host.srv / "app" / "static", system, of_link)
    await host.install({"g": b"1"}, INTO_STATIC.replace("source: f", "source: g"))
    assert (system / "g").read_bytes() == b"1"


async def test_every_link_on_the_way_counts(host: Host, system: Path) -> None:
    link(host.srv / "middle", system, APP)
    link(host.srv / "app" / "static", "../middle/.", 0)
    await host.refused({"g": b"1"}, INTO_STATIC.replace("source: f", "source: g"))
    assert real_folder(str(host.srv / "app" / "static")) == (str(system), False)
    os.lchown(host.srv / "middle", 0, 0)
    assert real_folder(str(host.srv / "app" / "static")) == (str(system), True)


@pytest.mark.parametrize("target", ["link", "nowhere", "../srv/link", "file"])
async def test_links_that_lead_nowhere(host: Host, target: str) -> None:
    (host.srv / "file").touch()
    (host.srv / "link").symlink_to(target)
    with pytest.raises(OSError, match="link|nowhere"):
        real_folder(str(host.srv / "link"))


async def test_a_second_name_of_a_file_is_not_given_away_with_it(host: Host, system: Path) -> None:
    """The kernel lets a user make one to a file of root's unless `fs.protected_hardlinks` is set."""
    await host.install({"f": b"1"}, "files:\n  - {source: f, destination: SRV/app}\n")
    os.link(host.srv / "app" / "f", system / "second")
    await host.install({"f": b"1"}, GIVEN_AWAY)
    assert (owner(host.srv / "app" / "f"), owner(system / "second")) == (APP, 0)


async def test_a_file_that_is_moved_in_during_the_install_is_not_given_away(
    host: Host, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.install({"f": b"1"}, "files:\n  - {source: f, destination: SRV/app}\n")
    mine = host.srv / "app" / "f"

    def swap(*_: object) -> None:
        mine.unlink()
        (system / "f").rename(mine)

    monkeypatch.setattr(install_module, "require_room", swap)
    with pytest.raises(InstallError, match="was replaced while the install was running"):
        await host.install({"f": b"1"}, GIVEN_AWAY)
    assert (owner(mine), stat.S_IMODE(mine.stat().st_mode)) == (0, 0o600)


async def test_a_directory_that_is_moved_in_is_not_given_away(
    host: Host, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "files:\n  - {source: d, destination: SRV/app/d}\n"
    await host.install({"d/f": b"1"}, text)

    def swap(*_: object) -> None:
        (host.srv / "app" / "d").rename(host.srv / "app" / "away")
        system.rename(host.srv / "app" / "d")

    monkeypatch.setattr(install_module, "require_room", swap)
    given = f"permissions:\n  - {{object: SRV/app, owner: '{APP}', type: [directory]}}\n"
    with pytest.raises(InstallError, match="was replaced while the install was running"):
        await host.install({"d/f": b"1"}, text + given)
    assert owner(host.srv / "app" / "d") == 0


def test_what_is_no_link_any_more_is_not_given_away(host: Host, system: Path) -> None:
    with Folders.below(system) as folders, pytest.raises(FileExistsError):
        set_link_owner(folders.folder(""), "f", Attributes(uid=APP, gid=APP))
    assert owner(system / "f") == 0
    link(system / "l", "f", 0)
    with Folders.below(system) as folders:
        set_link_owner(folders.folder(""), "l", Attributes(uid=APP, gid=APP))
    assert (owner(system / "l"), owner(system / "f")) == (APP, 0)


def test_taking_back_gives_nothing_away(system: Path, tmp_path: Path) -> None:
    (tmp_path / "of-app").touch()
    os.chown(tmp_path / "of-app", APP, APP)
    was = attributes_of(f"{system}/f", (tmp_path / "of-app").stat(), 0, [])
    with Folders.below("/") as folders, pytest.raises(FileExistsError, match="replaced"):
        restore_attributes(folders, was)
    assert owner(system / "f") == 0
