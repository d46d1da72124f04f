"""Keeps Python from searching for cycles while thousands of objects are made that have none: a tenth of the work."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_guard = threading.Lock()
_users = 0
_was_on = False


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Several may be inside at once; the search goes on with the last of them, if there was any before."""
    global _users, _was_on
    with _guard:
        if _users == 0:
            _was_on = gc.isenabled()
            gc.disable()
        _users += 1
    try:
        yield
    finally:
        with _guard:
            _users -= 1
            if _users == 0 and _was_on:
                gc.enable()
