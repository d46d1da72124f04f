"""Which deployments' files are being worked with, so that nothing prunes them meanwhile (V2-071)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Uses:
    """Names of deployment folders. Its methods may wait for a pruning to end: call them in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: Counter[str] = Counter()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Protects a folder for the body; whether it is still there is to be seen inside."""
        with self._lock:
            self._names[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._names[name] -= 1

    @contextmanager
    def standing_still(self) -> Iterator[frozenset[str]]:
        """Yields the folders in use; nobody takes another one into use during the body."""
        with self._lock:
            yield frozenset(name for name, count in self._names.items() if count > 0)
