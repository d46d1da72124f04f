"""The two little languages inside `permissions`: ACL entries and SELinux ranges (AG-V27 … AG-V32, AG-V38)."""

from __future__ import annotations

import re

from ferryman.appspec.model import AclEntry

CATEGORIES = 1024

_TAGS = {
    "user": "user", "u": "user", "group": "group", "g": "group",
    "mask": "mask", "m": "mask", "other": "other", "o": "other",
}  # fmt: skip
_DEFAULT = ("default", "d")
_BITS = {"r": 4, "w": 2, "x": 1, "-": 0}
_LEVEL = re.compile(r"s([0-9]{1,4})", re.ASCII)
_CATEGORY = re.compile(r"c([0-9]{1,4})(?:\.c([0-9]{1,4}))?", re.ASCII)


class AccessError(Exception):
    """A text that is not of its language; the message completes "entry 'x' …"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_ace(text: str) -> AclEntry:
    """Reads `[default:|d:][type:]name:permissions`; without a type it is a user's (AG-V29). Raises AccessError."""
    parts = [part.strip() for part in text.split(":")]
    if not 2 <= len(parts) <= 4:
        raise AccessError("PERM_ACE", "needs 2 to 4 parts between colons, like 'user:bob:rw'")
    is_default = len(parts) > 2 and parts[0] in _DEFAULT
    if len(parts) == 4 and not is_default:
        raise AccessError(
            "PERM_ACE", f"has four parts, but does not begin with 'default' or 'd' ({parts[0]!r})"
        )
    tag, name = _subject(parts[1:-1] if is_default else parts[:-1])
    permissions = _permissions(parts[-1])
    if tag in ("mask", "other") and name:
        raise AccessError("PERM_ACE", f"names {name!r}, but {tag} takes no name")
    if not is_default and tag != "mask" and not name:
        raise AccessError("PERM_ACE_BASE", f"is for the {tag} of the object itself; use 'mode' for that")
    return AclEntry(is_default=is_default, tag=tag, name=name, permissions=permissions)


def parse_range(text: str) -> str:
    """Reads `sN[-sN][:categories]` and returns its canonical form (V2-166). Raises AccessError."""
    levels, separator, categories = text.partition(":")
    low_text, dash, high_text = levels.partition("-")
    low = _level(low_text)
    high = _level(high_text) if dash else low
    if high < low:
        raise AccessError("PERM_CONTEXT_RANGE", f"ends at s{high}, below its begin s{low}")
    canonical = f"s{low}-s{high}" if dash else f"s{low}"
    return f"{canonical}:{_categories(categories)}" if separator else canonical


def _subject(parts: list[str]) -> tuple[str, str]:
    if len(parts) == 1:
        # "bob:rw" is a user; "mask:rw" is what setfacl takes for "mask::rw".
        return (_TAGS[parts[0]], "") if parts[0] in _TAGS else ("user", parts[0])
    tag = _TAGS.get(parts[0] or "user")
    if tag is None:
        raise AccessError("PERM_ACE", f"is for {parts[0]!r}; it can be user, group, mask or other")
    return tag, parts[1]


def _permissions(text: str) -> int:
    if len(text) == 1 and text in "01234567":
        return int(text)
    for character in text:
        if character not in _BITS:
            message = f"has {character!r} in its permissions; use r, w, x, - or one digit from 0 to 7"
            raise AccessError("PERM_ACE_PERM", message)
    if not text:
        raise AccessError("PERM_ACE_PERM", "has no permissions; use r, w, x, - or one digit from 0 to 7")
    bits = 0
    for character in text:
        bits |= _BITS[character]
    return bits


def _level(text: str) -> int:
    match = _LEVEL.fullmatch(text)
    if match is None:
        raise AccessError("PERM_CONTEXT_RANGE", f"has {text!r} where a sensitivity like s0 belongs")
    return int(match[1])


def _categories(text: str) -> str:
    chosen: set[int] = set()
    for part in text.split(","):
        match = _CATEGORY.fullmatch(part)
        if match is None:
            raise AccessError("PERM_CONTEXT_RANGE", f"has {part!r} where categories like c0 or c0.c3 belong")
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first or last >= CATEGORIES or (match[2] and last == first):
            limit = CATEGORIES - 1
            raise AccessError("PERM_CONTEXT_RANGE", f"has {part!r}; categories rise, and end at c{limit}")
        span = set(range(first, last + 1))
        if chosen & span:
            raise AccessError("PERM_CONTEXT_RANGE", f"has {part!r}, which repeats a category")
        chosen |= span
    return ",".join(_spans(sorted(chosen)))


def _spans(numbers: list[int]) -> list[str]:
    spans: list[str] = []
    start = previous = numbers[0]
    for number in [*numbers[1:], -1]:
        if number == previous + 1:
            previous = number
            continue
        if start == previous:
            spans.append(f"c{start}")
        else:
            spans.append(f"c{start}{'.' if previous > start + 1 else ','}c{previous}")
        start = previous = number
    return spans
