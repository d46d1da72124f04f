"""Installing below a directory."""

from __future__ import annotations

from ferryman.appspec import AppSpec, parse
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
