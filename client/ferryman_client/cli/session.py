"""What every command shares: its coordinator, its event loop, its exit code."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, NoReturn, TypeVar

import typer

from ferryman.v1 import types_pb2
from ferryman_client import errors
from ferryman_client.cli.render import print_error
from ferryman_client.client import Client
from ferryman_client.profiles import current_profile

Answer = TypeVar("Answer")

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STOPPED = 3
EXIT_DENIED = 4
EXIT_NOT_FOUND_OR_CONFLICT = 5
EXIT_UNREACHABLE = 6
EXIT_TIMED_OUT = 7
EXIT_INTERRUPTED = 130

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON with stable field names.")]

# Set by the callback of the top command, before any command runs.
chosen_profile = ""


def choose_profile(name: str) -> None:
    """Remembers `ferryman --profile NAME` for the command that follows."""
    global chosen_profile
    chosen_profile = name


def ask(action: Callable[[Client], Awaitable[Answer]]) -> Answer:
    """Returns what `action` returns with a client of the chosen profile; ends the process with the promised exit code
    when the coordinator refuses or cannot be reached."""

    async def run() -> Answer:
        async with Client(current_profile(chosen_profile)) as client:
            return await action(client)

    with guarded():
        return asyncio.run(run())


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Ends the process with the promised exit code when the code inside raises an error of the client's."""
    try:
        yield
    except errors.ClientError as problem:
        fail(str(problem), exit_code(problem))
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def fail(text: str, code: int) -> NoReturn:
    """Prints the error and ends the process."""
    print_error(text)
    raise typer.Exit(code)


def exit_code(problem: Exception) -> int:
    """Returns the exit code that scripts rely on for an error of the client's."""
    match problem:
        case errors.DeniedError():
            return EXIT_DENIED
        case errors.NotFoundError() | errors.ConflictError():
            return EXIT_NOT_FOUND_OR_CONFLICT
        case errors.Unreachable():
            return EXIT_UNREACHABLE
        case errors.InvalidRequest() | errors.ProfileError() | errors.BundleProblem():
            return EXIT_USAGE
        case _:
            return EXIT_FAILED


def parse_tag(text: str) -> types_pb2.Tag:
    """Returns the tag that `KEY=VALUE` or `KEY` names; ends the process when there is no key."""
    key, _, value = text.partition("=")
    if not key:
        fail(f"'{text}' is no tag: write KEY=VALUE", EXIT_USAGE)
    return types_pb2.Tag(key=key, value=value)
