"""The numbers for a monitoring system: written into a folder that may belong to that system's user (AG-546)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ferryman_agent.core.messages import Diagnostics
from ferryman_agent.files import atomic
from ferryman_agent.files.layout import Layout
from ferryman_agent.runtime.chronicle import Chronicle
from tests.support.agent_clock import ManualAgentClock
from tests.support.segments import a_segment


async def written(tmp_path: Path, metrics: Path) -> None:
    """Has one command end."""
    chronicle = Chronicle(Layout(tmp_path / "root"), ManualAgentClock(), metrics)
    segment = a_segment(events=("AfterInstall",))
    chronicle.ended(segment, "AfterInstall", Diagnostics())
    await chronicle.write(segment)


@pytest.mark.req("AG-546")
async def test_a_link_in_the_place_of_the_next_file_is_not_followed(tmp_path: Path) -> None:
    """Who owns the folder may know what name comes next, and root writes there."""
    victim, metrics = tmp_path / "victim", tmp_path / "ferryman.prom"
    victim.write_text("not for you")
    victim.chmod(0o600)
    (tmp_path / ".ferryman.prom.new").symlink_to(victim)
    await written(tmp_path, metrics)
    assert victim.read_text() == "not for you"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert "ferryman_agent_lifecycle_events_total" in metrics.read_text()
    assert stat.S_IMODE(metrics.stat().st_mode) == 0o644


@pytest.mark.req("V2-282", "V2-283")
def test_an_atomic_write_opens_nothing_but_its_own_file_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the write and the mode, who owns the folder may put a link in the place of the new file."""
    victim, opened = tmp_path / "victim", os.fdopen
    victim.write_text("not for you")
    victim.chmod(0o600)

    def swapping(descriptor: int, mode: str) -> object:
        (fresh,) = tmp_path.glob(f"{atomic.TEMPORARY_PREFIX}*")
        fresh.unlink()
        fresh.symlink_to(victim)
        return opened(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", swapping)
    atomic.write_atomic(tmp_path / "file", b"content", 0o644)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
