"""What scripts print: no control character and no part of an escape sequence gets into logs and tails (V2-261)."""

from __future__ import annotations

import unicodedata

from ferryman_agent.hooks.output import LONGEST_LINE, TAIL_CHARACTERS, Splitter, Tail, clean

_CUT = b" [line cut at 64 KiB, goes on below]\n"
_KEPT = {"\t", "\n"}
_BLOCKS = (7, 4096)


def examine(source: bytes) -> None:
    """What holds for every input."""
    for size in _BLOCKS:
        splitter = Splitter()
        parts = [splitter.feed(source[at : at + size]) for at in range(0, len(source), size)]
        parts.append(splitter.finish())
        assert all(part == b"" or part.endswith(b"\n") for part in parts)
        whole = b"".join(parts)
        assert all(len(line) <= LONGEST_LINE + len(_CUT) for line in whole.split(b"\n"))
    cleaned = clean(source)
    assert clean(cleaned) == cleaned
    text = cleaned.decode(errors="replace")
    assert not {each for each in text if unicodedata.category(each) == "Cc"} - _KEPT
    tail = Tail()
    tail.add_lines("[stdout]", cleaned + b"\n")
    assert len(tail.text()) <= TAIL_CHARACTERS
