"""Installing below a directory."""

from __future__ import annotations

import pytest

from ferryman.appspec import AppSpec, EntryKind, parse
from ferryman_agent.core.install_facts import ArchiveFact
from ferryman_agent.core.install_plan import wanted_targets
from ferryman_agent.core.install_root import below

SOURCE = b"""\
version: 0.0
os: linux
files:
  - {source: a, destination: /srv/app}
permissions:
  - {object: /srv/app, except: ["*.log", /srv/app/keep], owner: root}
hooks:
  AfterInstall:
    - {location: scripts/a}
"""


def appspec() -> AppSpec:
    parsed = parse(SOURCE).appspec
    assert parsed is not None
    return parsed


def test_every_absolute_path_of_the_host_moves_and_nothing_else() -> None:
    moved = below("/home/me/root/", appspec())
    assert [one.destination for one in moved.files] == ["/home/me/root/srv/app"]
    assert [one.source for one in moved.files] == ["a"]
    (permission,) = moved.permissions
    assert permission.object == "/home/me/root/srv/app"
    assert permission.exceptions == ("*.log", "/home/me/root/srv/app/keep")
    assert moved.hooks == appspec().hooks


def test_the_real_root_changes_nothing() -> None:
    original = appspec()
    assert below("/", original) is original


WINDOWS_SOURCE = rb"""
version: 0.0
os: windows
files:
  - {source: \web, destination: 'c:\inetpub\site'}
  - {source: bin, destination: 'D:/tools'}
"""


@pytest.mark.req("AG-540")
@pytest.mark.parametrize(
    "root, places",
    [
        ("/", ["/C:/inetpub/site", "/D:/tools"]),
        ("/E:/trial", ["/E:/trial/C/inetpub/site", "/E:/trial/D/tools"]),
    ],
)
def test_drives_are_folders_of_the_machine(root: str, places: list[str]) -> None:
    parsed = parse(WINDOWS_SOURCE).appspec
    assert parsed is not None
    assert [one.destination for one in below(root, parsed).files] == places


@pytest.mark.req("AG-540")
def test_a_plan_has_backslash_sources_at_their_places() -> None:
    parsed = parse(WINDOWS_SOURCE).appspec
    assert parsed is not None
    listing = {
        "web": EntryKind.DIRECTORY,
        "web/index.html": EntryKind.FILE,
        "bin": EntryKind.DIRECTORY,
        "bin/tool.exe": EntryKind.FILE,
    }
    facts = {path: ArchiveFact(kind, 0, 0o600, 0, 0, 0) for path, kind in listing.items()}
    targets, findings = wanted_targets(below("/", parsed), facts)
    assert [(one.path, one.source) for one in targets if one.kind is EntryKind.FILE] == [
        ("/C:/inetpub/site/index.html", "web/index.html"),
        ("/D:/tools/tool.exe", "bin/tool.exe"),
    ]
    assert not findings
