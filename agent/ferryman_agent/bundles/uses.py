"""Which deployments' files are being worked with, so that nothing prunes them meanwhile (V2-071)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Uses:
    """Names of deployment folders. `take` and `standing_still` wait for each other: call them in threads."""

    def __init__(self) -> None:
        self._pruning = threading.Lock()
        self._counting = threading.Lock()
        self._names: Counter[str] = Counter()

    def take(self, name: str) -> None:
        """Protects a folder until `give`; whether it is still there is to be seen afterwards."""
        with self._pruning, self._counting:
            self._names[name] += 1

    def give(self, name: str) -> None:
        """Ends what `take` began; does not wait."""
        with self._counting:
            self._names[name] -= 1
            if not self._names[name]:
                # Every deployment has a name of its own: they would pile up for as long as the agent lives.
                del self._names[name]

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Protects a folder for the body."""
        self.take(name)
        try:
            yield
        finally:
            self.give(name)

    @contextmanager
    def standing_still(self) -> Iterator[frozenset[str]]:
        """Yields the folders in use; nobody takes another one into use during the body."""
        with self._pruning:
            with self._counting:
                names = frozenset(self._names)
            yield names
