"""What a process leaves out that waits for weeks, or that shall answer at once. Called before anything is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
import typing
from types import ModuleType

_UNUSED = ("rich", "greenlet")
_PROTOBUF_IN_PYTHON = "google.protobuf.internal.python_message"


def leave_out(*, speaks_protobuf: bool = True) -> None:
    """Makes imports of what is optional for others fail, as if it were not installed.

    `speaks_protobuf`: False for a process that loads none of it, and need not look for it.

    structlog imports them where it finds them: for coloured tracebacks that no agent shows (5 MiB, and a tenth of a
    second), and for threads of a kind that it does not have (1 MiB).
    """
    for name in _UNUSED:
        _hide(name)
    # All that gRPC, structlog and msgspec want of it has come into `typing` by now: 0.4 MiB.
    sys.modules.setdefault("typing_extensions", typing)
    if speaks_protobuf and _has_fast_protobuf():
        # protobuf loads its second implementation, and what prints messages, to do nothing with it: 1 MiB.
        sys.modules.setdefault(_PROTOBUF_IN_PYTHON, ModuleType(_PROTOBUF_IN_PYTHON))


def _has_fast_protobuf() -> bool:
    wanted = os.environ.get("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "upb")
    return wanted == "upb" and importlib.util.find_spec("google._upb._message") is not None


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
