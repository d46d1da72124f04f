"""Whether the machine itself is about to go down, as against the agent alone (AG-143)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

_ASK_SECONDS = 2.0
_SYSTEMD_RUNS = Path("/run/systemd/system")


async def is_host_going_down(running: Path = _SYSTEMD_RUNS) -> bool:
    """Asks the service manager, which runs where `running` is; False where there is none, or no answer at once."""
    program = await asyncio.to_thread(_service_manager, running)
    if program is None:
        return False
    try:
        child = await asyncio.create_subprocess_exec(
            program,
            "is-system-running",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            output, _ = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return False
    return output.strip() == b"stopping"


def _service_manager(running: Path) -> str | None:
    return shutil.which("systemctl") if running.is_dir() else None
