"""Signals on Windows: the numbers that the agent names, and what of them can be heard there."""

from __future__ import annotations

import signal as standard
from enum import IntEnum


class Signals(IntEnum):
    """The numbers of Linux. Windows delivers SIGINT and SIGBREAK, and ends a process for every other one."""

    SIGHUP = 1
    SIGINT = 2
    SIGQUIT = 3
    SIGKILL = 9
    SIGTERM = 15
    SIGCHLD = 17


SIGHUP, SIGINT, SIGQUIT = Signals.SIGHUP, Signals.SIGINT, Signals.SIGQUIT
SIGKILL, SIGTERM, SIGCHLD = Signals.SIGKILL, Signals.SIGTERM, Signals.SIGCHLD
signal = standard.signal
