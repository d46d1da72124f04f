"""What holds for any output in any blocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.hooks.output import LONGEST_LINE, TAIL_CHARACTERS, Splitter, Tail, clean

_CUT = b" [line cut at 64 KiB, goes on below]\n"
_PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"\n", b"\n\n", b"\r\n", b"x" * 9_000, b"y" * 65_536]),
    ),
    max_size=40,
)


@given(_PIECES)
def test_splitting_loses_and_invents_nothing(blocks: list[bytes]) -> None:
    splitter = Splitter()
    parts = [splitter.feed(block) for block in blocks]
    parts.append(splitter.finish())
    assert all(part == b"" or part.endswith(b"\n") for part in parts)
    lines = b"".join(parts)
    assert all(len(line) <= LONGEST_LINE + len(_CUT) for line in lines.split(b"\n"))
    printed = b"".join(blocks)
    assert lines.replace(_CUT, b"") == printed + (b"" if printed.endswith(b"\n") or not printed else b"\n")


@given(_PIECES)
def test_cleaning_leaves_no_control_character_but_tab_and_newline(blocks: list[bytes]) -> None:
    cleaned = clean(b"".join(blocks) + b"\n")
    assert cleaned.endswith(b"\n")
    assert not set(cleaned) & {*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F, 0x0D}


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=700), max_size=30))
def test_tail_is_the_longest_end_of_whole_entries(entries: list[str]) -> None:
    tail = Tail()
    for entry in entries:
        tail.add(entry)
    expected = ""
    for entry in reversed(entries):
        if len(expected) + len(entry) + 1 > TAIL_CHARACTERS:
            break
        expected = f"{entry}\n{expected}"
    assert tail.text() == expected


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=5000), min_size=1, max_size=8))
def test_tail_is_never_longer_and_always_has_the_newest(entries: list[str]) -> None:
    tail = Tail()
    for entry in entries:
        tail.add(entry)
        assert len(tail.text()) <= TAIL_CHARACTERS
        assert tail.text().endswith(f"{entry}\n"[-TAIL_CHARACTERS:])


@given(st.lists(st.binary(max_size=3000).map(lambda line: line.replace(b"\n", b"")), max_size=30))
def test_blocks_and_single_lines_give_the_same_tail(lines: list[bytes]) -> None:
    by_line, by_block = Tail(), Tail()
    for line in lines:
        by_line.add("[stdout]" + line.decode(errors="replace"))
    by_block.add_lines("[stdout]", b"".join(line + b"\n" for line in lines))
    assert by_block.text() == by_line.text()
