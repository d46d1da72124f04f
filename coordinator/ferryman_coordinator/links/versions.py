"""Which of two versions of the agent is the older one."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"\d{1,9}(\.\d{1,9}){0,7}")


def is_version(text: str) -> bool:
    """Whether the text begins like `1.2.0`; what follows, such as `rc1`, does not count."""
    return _NUMBERS.match(text) is not None


def is_older(version: str, minimum: str) -> bool:
    """Whether `version` is below `minimum`; what is no version at all is. Without a minimum nothing is."""
    if not minimum:
        return False
    return not is_version(version) or _parts(version) < _parts(minimum)


def _parts(version: str) -> tuple[int, ...]:
    match = _NUMBERS.match(version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
