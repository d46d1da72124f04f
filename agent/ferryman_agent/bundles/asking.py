"""How the coordinator is asked for a small bundle of its own: what runtime offers, and `call_hands.py` uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Ask = Callable[[str], Awaitable[bytes]]
"""Returns the archive at an address. Raises NotByCall."""


class NotByCall(Exception):
    """The archive is not to be had like this; the text says why, for the log."""
