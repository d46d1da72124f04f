"""From a bundle whose files everybody may write to what is installed: open there, closed where root takes scripts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ferryman_agent.bundles.archive import build_archive
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.core.messages import BundleType, DeploymentId, Instant
from ferryman_agent.files.install import install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.shared_modes import load_shared_modes, save_shared_modes
from tests.support.bundles import APPSPEC, GROUP, Item, description, make_tar, make_zip

FILES = b"files: [{source: app, destination: SRV/app}]\n"


def entries(top: str, srv: Path, odd: str) -> list[Item]:
    spec = APPSPEC + FILES.replace(b"SRV", os.fsencode(srv))
    return [
        Item(name=f"{top}appspec.yml", content=spec, mode=0o666),
        Item(name=f"{top}start.sh", content=b"#!/bin/sh\n", mode=0o777),
        Item(name=f"{top}app/", mode=0o2777),
        Item(name=f"{top}app/uploads/", mode=0o1777),
        Item(name=f"{top}app/shared", content=b"1", mode=0o660),
        Item(name=f"{top}app/{odd}", content=b"2", mode=0o646),
    ]


@pytest.mark.req("V2-124", "AG-308", "AG-309")
@pytest.mark.parametrize("kind", [BundleType.ZIP, BundleType.TGZ])
@pytest.mark.parametrize("top", ["", "web-1/"])
async def test_modes_for_everybody(tmp_path: Path, kind: BundleType, top: str) -> None:
    srv, bundle = tmp_path / "srv", tmp_path / "bundle"
    srv.mkdir()
    # Makers of zip archives write text only.
    odd = "ümlaut" if kind is BundleType.ZIP else "f\udcff"
    made = entries(top, srv, odd)
    bundle.write_bytes(make_zip(made) if kind is BundleType.ZIP else make_tar(made, "gz"))
    layout = Layout(tmp_path / "root")
    layout.prepare()
    place = layout.create_deployment(GROUP, DeploymentId("d-1"))
    build_archive(
        bundle, kind, place, wanted_appspec="appspec.yml", limits=BundleLimits(disk_reserve_bytes=0)
    )

    everything = [place.archive, *place.archive.rglob("*")]
    assert len(everything) == 7
    assert {path: oct(path.stat().st_mode) for path in everything if path.stat().st_mode & 0o022} == {}

    await install(description("d-1"), layout=layout, now=Instant(1))
    names = ("app", "app/uploads", "app/shared", f"app/{odd}")
    modes = [stat.S_IMODE((srv / name).stat().st_mode) for name in names]
    assert modes == [0o777, 0o1777, 0o660, 0o646]


@pytest.mark.req("V2-288")
@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": "b"}', b"\xff\0", b'{"\\u0000zz": 2}'])
def test_a_record_that_cannot_be_used_takes_nothing_but_the_bits(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "modes"
    path.write_bytes(content)
    assert load_shared_modes(path) == {}


def test_a_record_can_add_no_other_bits_and_goes_with_its_archive(tmp_path: Path) -> None:
    path = tmp_path / "modes"
    save_shared_modes(path, {"a": 0o6777})
    assert load_shared_modes(path) == {"a": 0o022}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save_shared_modes(path, {})
    assert not path.exists()
