"""What a process that waits for weeks does without. Called before anything else is imported."""

from __future__ import annotations

import sys


def leave_out() -> None:
    """Makes imports of what is optional for others fail, as if it were not installed."""
    # asyncio imports it for streams over TLS, which this process does not have: gRPC brings its own, downloads use
    # sockets. With OpenSSL it is 5 MiB. What does need it can still import it afterwards.
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    import asyncio  # noqa: F401 - imported for what it leaves out

    found: object = sys.modules["ssl"]
    if found is None:
        del sys.modules["ssl"]
    # structlog imports them where it finds them: for coloured tracebacks that no agent shows (5 MiB, and a tenth of a
    # second), and for threads of a kind that it does not have (1 MiB).
    for name in ("rich", "greenlet"):
        # None is how Python spells "not to be found" here, which the type of `sys.modules` does not know.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
