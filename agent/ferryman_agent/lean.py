"""What a process leaves out that waits for weeks, or that shall answer at once. Called before anything is imported."""

from __future__ import annotations

import sys


def leave_out() -> None:
    """Makes imports of what is optional for others fail, as if it were not installed.

    structlog imports them where it finds them: for coloured tracebacks that no agent shows (5 MiB, and a tenth of a
    second), and for threads of a kind that it does not have (1 MiB).
    """
    for name in ("rich", "greenlet"):
        _hide(name)


def load_asyncio_alone() -> None:
    """Loads asyncio without `ssl`, which it takes along for streams over TLS that no process of ours has.

    gRPC brings its own, downloads use sockets. With OpenSSL it is 5 MiB. What does need it can import it afterwards.
    """
    if "ssl" in sys.modules:
        return
    _hide("ssl")
    import asyncio  # noqa: F401 - imported for what it leaves out

    del sys.modules["ssl"]


def _hide(name: str) -> None:
    # None is how Python spells "not to be found" here, which the type of `sys.modules` does not know.
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]
