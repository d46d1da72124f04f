"""Whoever started the agent and waits for it: systemd, or the supervisor of `ferryman-agent start`; told the same."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

READY_DESCRIPTOR = "FERRYMAN_READY_FD"
"""Descriptor of a pipe to the supervisor. Scripts see no variable of this prefix, and no descriptor of ours."""
SYSTEMD, SUPERVISOR = "systemd", "supervisor"
_listeners: list[Callable[[str], None]] = []


def name(environment: Mapping[str, str] = os.environ) -> str:
    """Who looks after this process: `systemd`, `supervisor`, or empty text for nobody."""
    if environment.get("NOTIFY_SOCKET"):
        return SYSTEMD
    return SUPERVISOR if environment.get(READY_DESCRIPTOR) else ""


def notify(state: str) -> None:
    """Tells who waits (V2-301): `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `RELOADING=1`, `STATUS=…`.

    One that does not listen is no reason to stop.
    """
    for listener in _listeners:
        listener(state)
    if address := os.environ.get("NOTIFY_SOCKET"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    if (descriptor := os.environ.get(READY_DESCRIPTOR, "")).isdecimal():
        with contextlib.suppress(OSError):
            os.write(int(descriptor), f"{state.splitlines()[0]}\n".encode())


def listen(listener: Callable[[str], None]) -> None:
    """Has a part of this very process hear all that `notify` tells: Windows starts services, and waits in there."""
    _listeners.append(listener)


def notify_reloading() -> None:
    """A reload begins; `READY=1` ends it."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def keep_from_children() -> None:
    """The supervisor waits for the end of this process, not for that of a daemon which a script left behind."""
    if (descriptor := os.environ.get(READY_DESCRIPTOR, "")).isdecimal():
        with contextlib.suppress(OSError):
            os.set_inheritable(int(descriptor), False)


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants a sign of life, at half of what it waits for; None where it wants none."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000
