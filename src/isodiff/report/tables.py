"""The tables of a report as rows of cells: the verdict, the runs; the verdict also as text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from isodiff.report.folder import Run, StudyFolder
from isodiff.report.format import MARKS, interval, plain, scientific, size_interval, with_error
from isodiff.report.ranking import Row
from isodiff.scaling.laws.isoflop import REFERENCE
from isodiff.units import clock, short


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
        note: a second, smaller line.
        href: where the text leads.
        mark: a CSS class.
    """

    text: str
    key: float | str | None = None
    note: str = ""
    href: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; `anchors` names each row for links into the page."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A heading with a table, or with the reason why there is none; sentences below."""

    title: str
    table: Table | None
    caption: str
    lines: tuple[str, ...] = field(default=())


def verdict_table(rows: Sequence[Row], budgets: Sequence[float], convention: str) -> Table:
    """Families x (bits per byte at each budget, N*, D*, multiplier)."""
    columns = (
        Column("family", numeric=False),
        *(Column(f"{scientific(budget)} FLOPs", "bits per byte") for budget in budgets),
        Column("N*", f"{convention} parameters"),
        Column("D*", "tokens"),
        Column("compute", "for equal loss, times"),
    )
    return Table(columns, tuple(verdict_row(row, rows, budgets) for row in rows))


def verdict_row(row: Row, rows: Sequence[Row], budgets: Sequence[float]) -> tuple[Cell, ...]:
    """One family; the lowest number at each budget is marked."""
    scores = []
    for budget in budgets:
        best = row.best.get(budget)
        if best is None:
            scores.append(Cell("–"))
            continue
        size = best.run.record.parameters.get("non_embedding")
        note = f"{short(size)}, best of {best.num_runs}" if size else f"best of {best.num_runs}"
        lowest = min(other.best[budget].bits for other in rows if budget in other.best)
        mark = "best" if best.bits == lowest else ""
        text = f"{MARKS[best.validation.kind]} {with_error(best.validation.bits_per_byte)}"
        scores.append(Cell(text, note=note, mark=mark))
    found = row.optimum
    where = f"at {scientific(found.compute)}" if found and found.compute != budgets[-1] else ""
    size = Cell(size_interval(found) if found else "–", note=where)
    tokens = Cell(short(found.D_opt) if found and found.D_opt else "–")
    price = Cell(interval(row.multiplier), note="extrapolated" if row.extrapolated else "")
    if row.family == REFERENCE:
        price = Cell("1", note="reference")
    return (Cell(row.family), *scores, size, tokens, price)


def as_text(table: Table) -> str:
    """A table for a terminal, ASCII marks only; notes are left out."""
    lines = [[plain(column.name) for column in table.columns]]
    lines += [[plain(cell.text) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def runs_table(study: StudyFolder, base: Path) -> Table | None:
    """Every run with what became of it; links lead from `base`, the page's folder, to records."""
    if not study.runs:
        return None
    columns = (
        Column("family", numeric=False),
        Column("budget", "FLOPs"),
        Column("size", "parameters, non-embedding"),
        Column("shape", "depth × width × heads", numeric=False),
        Column("seed"),
        Column("tokens"),
        Column("epochs"),
        Column("loss", "nats per token"),
        Column("loss", "bits per byte"),
        Column("status", numeric=False),
        Column("time"),
        Column("speed", "tokens/s"),
        Column("record", numeric=False),
    )
    anchors = tuple(run.record.id for run in study.runs)
    return Table(columns, tuple(run_row(run, base) for run in study.runs), anchors)


def run_row(run: Run, base: Path) -> tuple[Cell, ...]:
    """One run."""
    record, validation = run.record, run.record.validation
    spec, dash = record.spec, Cell("–", key=float("inf"))

    def number(value: float | None, text: str) -> Cell:
        return dash if value is None else Cell(text, key=value)

    losses = [dash, dash]
    if validation is not None:
        mark = MARKS[validation.kind]
        losses = [
            Cell(f"{mark} {with_error(mean)}", key=mean.value)
            for mean in (validation.nats_per_token, validation.bits_per_byte)
        ]
    size = record.parameters.get("non_embedding")
    link = quote(Path(os.path.relpath(run.path, base)).as_posix())
    return (
        Cell(run.family),
        Cell(scientific(spec.budget), key=spec.budget),
        number(size, short(size or 0)),
        Cell(f"{spec.shape.depth}×{spec.shape.width}×{spec.shape.heads}", key=size),
        Cell(str(spec.seed), key=spec.seed),
        number(record.tokens, short(record.tokens or 0)),
        number(record.epochs, f"{record.epochs or 0:.3g}"),
        *losses,
        Cell(record.status, note=record.message or "", mark=record.status),
        number(record.wall_seconds, clock(record.wall_seconds or 0)),
        number(record.tokens_per_second, short(record.tokens_per_second or 0)),
        Cell(record.id, href=link),
    )
