"""What SIGTERM and SIGINT mean: the first one asks for an orderly end, the second one ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal


def stop_on_signals(stop: asyncio.Event) -> None:
    """Sets `stop` at the first of them. Everything is stored at any moment, so the second loses nothing but manners."""
    loop = asyncio.get_running_loop()

    def take(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, take, number)
