"""What the service manager says of the whole machine, when the agent is told to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_agent.host import shutdown
from ferryman_agent.host.shutdown import is_host_going_down


@pytest.mark.req("AG-143")
@pytest.mark.parametrize(
    "says, is_down",
    [
        ("echo stopping; exit 1", True),
        ("echo running", False),
        ("echo degraded; exit 1", False),
        ("exec sleep 1000", False),
        ("", False),
    ],
)
async def test_the_machine_goes_down_when_its_service_manager_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, is_down: bool
) -> None:
    monkeypatch.setattr(shutdown, "_ASK_SECONDS", 0.3 if "sleep" in says else 30.0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$1" = is-system-running ] || exit 9\n{says}\n')
    program.chmod(0o755)
    assert await is_host_going_down(tmp_path) is is_down
    assert not await is_host_going_down(tmp_path / "no-systemd")
