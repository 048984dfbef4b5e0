"""Sections and blocks for a terminal: columns aligned, marks of ASCII."""

from __future__ import annotations

import re
import textwrap

from isodiff.report.blocks import Block, Figure, Section, Table, Text

_ASCII = str.maketrans(
    {
        **{"±": "+-", "≤": "<=", "×": "x", "–": "-", "−": "-", "·": "-", "“": '"', "”": '"'},
        **{"∞": "inf", "α": "alpha", "β": "beta", "Δ": "delta "},
    }
)
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?[a-zA-Z%]*|-|none|inf|")


def to_ascii(text: str) -> str:
    """The same text in ASCII marks: +-, <=. For terminals of any encoding."""
    return text.translate(_ASCII)


def terminal(*parts: Section | Block | str) -> str:
    """Parts below each other, a blank line between them; what has a title is indented below it."""
    return to_ascii("\n\n".join(filter(None, map(_part, parts))))


def _part(part: Section | Block | str) -> str:
    match part:
        case str():
            return part
        case Section(title, blocks):
            return _titled(title, "\n".join(filter(None, map(_part, blocks))))
        case Table():
            return _titled(part.title, f"{_columns(part)}\n{part.caption}".rstrip())
        case Figure(caption=caption):
            return caption
        case Text(lines, style, title, caption):
            shown = [f"- {line}" for line in lines] if style == "list" else list(lines)
            return _titled(title, "\n".join([caption, *shown] if caption else shown))


def _titled(title: str, body: str) -> str:
    return f"{title}\n{textwrap.indent(body, '  ')}" if title else body


def _columns(table: Table) -> str:
    """The headings and rows of a table; columns of bare numbers stand to the right."""
    rows = [[to_ascii(cell.text) for cell in row] for row in table.rows]
    heads = [] if table.style == "terms" else [[to_ascii(column.name) for column in table.columns]]
    lines = [*heads, *rows]
    cells = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in cells]
    right = [all(map(_NUMBER.fullmatch, column[len(heads) :])) for column in cells]
    return "\n".join(
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )
