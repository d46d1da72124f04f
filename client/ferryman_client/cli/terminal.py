"""What may reach a terminal: text, and nothing that a terminal takes for an order.

Descriptions, tags, output of hooks and names of files come from others. A control sequence in them could rewrite what
an operator sees, so text loses its control characters. They have no width in rich's layout, so that nothing shifts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# C0 but line ends and tabs, DEL, C1, line and paragraph separators, and what turns the direction of writing.
_UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class PlainConsole(Console):
    """A console on which text has no effect but to be read; colours and movements are rich's own alone."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or _UNSAFE.search(segment.text) is None:
                yield segment
            else:
                yield Segment(harmless(segment.text), segment.style)


def harmless(text: str) -> str:
    """Returns text without the characters that a terminal would obey."""
    return _UNSAFE.sub("", text)


def json_safe(document: str) -> str:
    r"""Returns a JSON document of the same meaning with those characters as `\uXXXX`."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
