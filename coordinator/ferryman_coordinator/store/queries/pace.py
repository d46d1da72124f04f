"""Long lists are turned into values a piece at a time, so that the event loop can do other things in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Value = TypeVar("Value")

_AT_ONCE = 500


async def values(rows: Iterable[Any], convert: Callable[[Any], Value]) -> list[Value]:
    """`convert` of each row, in order."""
    converted: list[Value] = []
    for number, row in enumerate(rows, start=1):
        converted.append(convert(row))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return converted
