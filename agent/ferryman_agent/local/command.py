"""The command `deploy-local`: arguments, order of steps, exit codes. What is heavy is loaded once the plan stands."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import PurePath

from ferryman_agent import lean
from ferryman_agent.errors import AgentError
from ferryman_agent.local.wish import Wish, read_arguments

ALIASES = ("codedeploy-local", "ferryman-local")
FAILED, WRONG_ARGUMENTS = 1, 2


def is_alias(program: str) -> bool:
    """Whether the command was called by a name that means a local deployment (V2-370)."""
    return PurePath(program).stem in ALIASES


def main(arguments: Sequence[str] | None = None, *, program: str | None = None) -> None:
    """Entry point. Ends with SystemExit: 0 succeeded, 1 failed or could not start, 2 wrong arguments."""
    name = program or PurePath(sys.argv[0]).stem
    wish = read_arguments(sys.argv[1:] if arguments is None else arguments, program=name)
    lean.leave_out(speaks_protobuf=False)
    # Nothing that is loaded here becomes garbage; looking for it takes a tenth of the start.
    gc.disable()
    if "://" not in (wish.location or ""):
        lean.load_asyncio_alone()
    try:
        code = _deploy(wish, name)
    except AgentError as error:
        _complain(name, str(error))
        code = FAILED
    if arguments is None:
        _leave(code)
    raise SystemExit(code)


def _deploy(wish: Wish, name: str) -> int:
    """Decides from the options and a look at the place; starts the engine when nothing is wrong with them."""
    from ferryman_agent.local import plan
    from ferryman_agent.local.location import Kind

    draft = plan.draft(wish, cwd=_current_directory(), environment=os.environ)
    location, mistakes, found = draft.location, draft.mistakes, None
    if location is not None and location.kind is Kind.LOCAL and not wish.no_install:
        from ferryman_agent.local.look import look

        found = look(location.place, draft.appspec, draft.possible_events)
        mistakes += plan.judge(found, location)
    if mistakes or location is None:
        _complain(name, *mistakes)
        return WRONG_ARGUMENTS
    from ferryman_agent.local.start import start

    return start(wish, draft, location, found)


def _leave(code: int) -> None:
    """Ends the process at once: all is closed, and to take the interpreter apart takes as long as two scripts."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _current_directory() -> str:
    """The way there as the user went it, through links, if the shell says so truly."""
    real, said = os.getcwd(), os.environ.get("PWD", "")
    try:
        return said if said.startswith("/") and os.path.samefile(said, real) else real
    except OSError:
        return real


def _complain(name: str, *texts: str) -> None:
    for text in texts:
        shown = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
        sys.stderr.write(f"{name}: {shown}\n")
