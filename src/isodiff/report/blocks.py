"""What a report is made of: sections of tables, figures and text. page.html and `text.py` show them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, its unit, and whether numbers stand under it."""

    name: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows in one place.

    Attributes:
        text: the words or number.
        key: what the column is sorted by; the text where it is None.
        note: a second, smaller line; left out at a terminal.
        file: the file that the text leads to.
        mark: a CSS class.
    """

    text: str
    key: float | None = None
    note: str = ""
    file: Path | None = None
    mark: str = ""


MISSING = Cell("–", key=float("inf"))
"""A number that is not there; sorted last."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows.

    Attributes:
        title: a heading of its own, below that of the section.
        caption: how to read it.
        style: of a page: `sortable` by the heading pressed, or `terms` with what they mean, without headings.
        anchors: the run of each row, for links into the page.
        fold: on a page, the words behind which the table is folded.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    caption: str = ""
    style: Literal["plain", "sortable", "terms"] = "plain"
    anchors: tuple[str, ...] = ()
    fold: str = ""

    @staticmethod
    def of(
        names: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", caption: str = ""
    ) -> Table:
        """A table of plain values under plain headings."""
        cells = tuple(tuple(Cell(str(value)) for value in row) for row in rows)
        return Table(tuple(map(Column, names)), cells, title, caption)

    @staticmethod
    def of_columns(
        columns: Mapping[str, Callable[..., object]],
        rows: Iterable[tuple[Any, ...]],
        caption: str = "",
    ) -> Table:
        """What each column shows of each row, whose parts are its arguments."""
        shown = [[show(*row) for show in columns.values()] for row in rows]
        return Table.of(tuple(columns), shown, caption=caption)

    @staticmethod
    def of_terms(entries: Iterable[Sequence[str]], title: str = "") -> Table:
        """Terms and what they mean."""
        cells = tuple(tuple(map(Cell, entry)) for entry in entries)
        return Table((Column(""), Column("")), cells, title, style="terms")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart for a page and the same one for a telephone, as Altair charts; a terminal shows the caption.

    `name` is that of its files and of its place in the page.
    """

    name: str
    wide: Any
    narrow: Any
    caption: str


@dataclass(frozen=True, slots=True)
class Text:
    """Lines of text.

    Attributes:
        lines: paragraphs; items of a list; texts as they are if `verbatim`.
        style: `lead` is the sentence that matters most, `missing` says why something is not there.
        title: a heading of its own, below that of the section.
        caption: what the lines are.
        run: the run they come from.
        fold: on a page, the words behind which the text is folded.
    """

    lines: Sequence[str]
    style: Literal["plain", "lead", "missing", "list", "verbatim"] = "plain"
    title: str = ""
    caption: str = ""
    run: str = ""
    fold: str = ""


Block = Table | Figure | Text


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it; `anchor` is its place in a page, if not named by the title."""

    title: str
    blocks: Sequence[Block]
    anchor: str = ""

    @property
    def place(self) -> str:
        """Its name in a page."""
        return self.anchor or re.sub(r"\W+", "-", self.title.lower())


def missing(title: str, anchor: str, why: str) -> Section:
    """A section that says why there is nothing to show."""
    return Section(title, [Text([why], "missing")], anchor)
