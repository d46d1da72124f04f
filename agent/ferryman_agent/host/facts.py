"""What a host tells about itself: gathered once for each stream, free space for each heartbeat."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from ferryman_agent import __version__
from ferryman_agent.hooks.native_processes import processes
from ferryman_agent.system import own


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Empty text and 0 stand for what the host does not tell."""

    host_name: str
    os: str
    os_version: str
    kernel: str
    architecture: str
    addresses: tuple[str, ...]
    boot_id: str
    cpu_count: int
    memory_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    agent_version: str = __version__


def gather(root: Path) -> Facts:
    """Returns the facts of this host; the disk is the one that holds `root`. Never raises."""
    name, system, kernel, machine = own.kernel()
    distribution, version = own.release()
    free, total = disk_space(root)
    return Facts(
        host_name=name,
        os=distribution or system,
        os_version=version,
        kernel=kernel,
        architecture=machine,
        addresses=_addresses(),
        boot_id=processes.boot_id(),
        cpu_count=os.cpu_count() or 0,
        memory_bytes=own.memory_bytes(),
        disk_free_bytes=free,
        disk_total_bytes=total,
    )


def disk_space(root: Path) -> tuple[int, int]:
    """Returns free and total bytes of the file system that holds `root`, or would hold it once it is made."""
    for folder in (root, *root.parents):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return usage.free, usage.total
    return 0, 0


def _addresses() -> tuple[str, ...]:
    """The addresses that this host has towards the rest of the world, one for each family.

    Asked of the routing table; nothing is sent. psutil would list every interface, and cost an idle agent 4 MiB.
    """
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # No route, or no such family: then there is no address to tell.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((elsewhere, 9))
            found.append(str(asking.getsockname()[0]))
    return tuple(found)
