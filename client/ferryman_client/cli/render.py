"""Prints tables, details, JSON and errors; the only module that prints, but for the live view in `watch.py`.

A `str` is shown as it is; what has a colour is a `Text`. Nothing is read as markup: a name may look like it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import Message
from rich.table import Table
from rich.text import Text

from ferryman_client.cli.terminal import PlainConsole, json_safe
from ferryman_client.cli.words import plain

Cell = str | Text

# Into a file or a pipe lines are as long as they need to be.
_UNLIMITED = 10_000

out = PlainConsole(
    highlight=False,
    markup=False,
    emoji=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else _UNLIMITED,
)
err = PlainConsole(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

_STATUS_STYLES = {
    "Succeeded": "green",
    "Failed": "bold red",
    "Stopped": "yellow",
    "Skipped": "dim",
    "InProgress": "cyan",
    "Baking": "cyan",
    "Pending": "dim",
}


def status(word: str) -> Text:
    """Returns a status word with its colour."""
    return Text(word, _STATUS_STYLES.get(word, ""))


def print_json(value: Message | Sequence[Message] | dict[str, Any]) -> None:
    """Prints one message, a list of them, or a mapping, as JSON."""
    if isinstance(value, Message):
        shown: Any = plain(value)
    elif isinstance(value, dict):
        shown = value
    else:
        shown = [plain(message) for message in value]
    sys.stdout.write(json_safe(json.dumps(shown, indent=2, ensure_ascii=False)) + "\n")


def print_line(value: dict[str, Any]) -> None:
    """Prints one JSON object as one line, at once: somebody may be following."""
    sys.stdout.write(json_safe(json.dumps(value, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str) -> None:
    """Prints rows under their columns; `empty` says what it means that there are none."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    if table.row_count:
        out.print(table)
    else:
        err.print(empty)


def print_details(rows: Iterable[tuple[str, Cell]]) -> None:
    """Prints labelled values, one a line; empty values are left out."""
    for label, value in rows:
        if value:
            out.print(Text.assemble((f"{label + ':':<22}", "bold"), " ", value))


def say(text: str) -> None:
    """Prints one plain line of the answer."""
    out.print(text)


def note(text: str) -> None:
    """Prints a remark on standard error, so that it does not get into a pipe."""
    err.print(text)


def warn(texts: Iterable[str]) -> None:
    """Prints warnings on standard error."""
    for text in texts:
        err.print(Text.assemble(("warning:", "yellow"), " ", text))


def print_error(text: str) -> None:
    """Prints why the command did not do what it should."""
    err.print(Text.assemble(("error:", "bold red"), " ", text))


def one_line(text: str) -> str:
    """Returns text without line ends: where each line is a fact of its own, a message must not bring others along."""
    return " ".join(text.splitlines())
