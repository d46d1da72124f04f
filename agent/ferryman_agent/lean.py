"""What a process leaves out that waits for weeks, or that shall answer at once. Called before anything is imported."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import typing
from types import ModuleType

from ferryman_agent.system import own

_UNUSED = ("rich", "greenlet")
_WITHOUT_TEXTS = 2
_BELLWETHERS = ("ferryman_agent", "grpc")
_IN_PYTHON: dict[str, dict[str, object]] = {
    "google.protobuf.internal.python_message": {},
    "google.protobuf.internal.well_known_types": {"WKTBASES": {}},
}
"""What stands in for modules that protobuf loads to do nothing with: its second implementation, what prints messages,
and methods of message types that we do not use; 1.4 MiB. With what is taken from them all the same."""


def leave_texts_out() -> None:
    """Begins this process again without docstrings (`python -OO`), where an installer has compiled everything so.

    They are 1.5 MiB of an agent, and nobody reads them there. Without compiled modules it would take seconds to make
    them, at each start where they cannot be written, and more memory than is saved.
    """
    if sys.flags.optimize < _WITHOUT_TEXTS and all(_is_compiled(name) for name in _BELLWETHERS):
        own.begin_again("-OO")


def _is_compiled(package: str) -> bool:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return False
    return os.path.exists(importlib.util.cache_from_source(found.origin, optimization=_WITHOUT_TEXTS))


def leave_out(*, speaks_protobuf: bool = True) -> None:
    """Makes imports of what is optional for others fail, as if it were not installed.

    `speaks_protobuf`: False for a process that loads none of it, and need not look for it.

    structlog imports them where it finds them: for coloured tracebacks that no agent shows (5 MiB, and a tenth of a
    second), and for threads of a kind that it does not have (1 MiB).
    """
    for name in _UNUSED:
        _hide(name)
    sys.modules.setdefault("typing_extensions", _TypingExtensions("typing_extensions"))
    if speaks_protobuf and _has_fast_protobuf():
        for name, content in _IN_PYTHON.items():
            _stand_in(name, **content)


class _TypingExtensions(ModuleType):
    """What gRPC, structlog and msgspec want of it has come into `typing` by now: 0.4 MiB less.

    Whoever wants another name gets the library itself: some of its names mean more than those of `typing`.
    """

    def __getattr__(self, name: str) -> object:
        if name in _SINCE_IN_TYPING:
            return getattr(typing, name)
        if name.startswith("__"):
            # Asked for by the import system, of every module.
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


_SINCE_IN_TYPING = ("Self", "get_type_hints", "NotRequired", "Required")


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
    _stand_in("asyncio.sslproto")
    import asyncio  # noqa: F401 - imported for what it leaves out

    del sys.modules["ssl"]


def forget(*names: str) -> None:
    """Lets go of modules that have done their work: what is loaded next takes their memory."""
    for name in names:
        sys.modules.pop(name, None)
        package, _, last = name.rpartition(".")
        if package in sys.modules:
            vars(sys.modules[package]).pop(last, None)
    gc.collect()


def _stand_in(name: str, **content: object) -> None:
    module = ModuleType(name)
    vars(module).update(content)
    sys.modules.setdefault(name, module)


def _hide(name: str) -> None:
    # None is how Python spells "not to be found" here, which the type of `sys.modules` does not know.
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]
