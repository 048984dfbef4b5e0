"""Points of tables: columns as people name them, the third of C, N, D from two, the end of a history.

C = 6ND wherever one of the three is not in the table. A Weights & Biases history (a column `_step`) is one
run, or one per run it names, and gives the last row that has a loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from isodiff.errors import InputError
from isodiff.record import Convention
from isodiff.scaling.column_names import as_number
from isodiff.scaling.columns import FieldSource, find_columns, misspelled
from isodiff.scaling.laws.law import REFERENCE
from isodiff.scaling.points import Parameters, Point, Points
from isodiff.scaling.table_files import Cells, TableFile, load_table
from isodiff.serialization import from_json

_NUMBERS = ("budget", "parameters", "tokens", "unique_tokens")
_MEASURED = (*_NUMBERS, "nats", "standard_error")
_OPTIONAL = ("standard_error", "unique_tokens", "kind", "id")
_DERIVED = {
    "budget": ("C = 6ND", lambda p: 6 * p.parameters * p.tokens),
    "parameters": ("N = C/6D", lambda p: p.budget / (6 * p.tokens)),
    "tokens": ("D = C/6N", lambda p: p.budget / (6 * p.parameters)),
}
_UNFINISHED = ("crashed", "failed", "killed", "running", "pending", "preempted", "preempting")
_OF_A_RUN = ("family", "parameters", "tokens", "budget")
"""What tells that rows of a history are of several runs: the first two stay, the others grow."""
_TOLERANCE = 0.01
"""Sizes and tokens of a sweep that differ by less are the same."""
_Rows = Sequence[tuple[str, Cells]]


def table_points(
    paths: Path | Sequence[Path],
    flops: Convention | None = None,
    parameters: Parameters | None = None,
    columns: Mapping[str, str] | None = None,
    sweep: bool = False,
) -> Points:
    """Points of tables, together.

    Units: FLOPs, parameters and tokens as plain numbers (1e18, 70M), losses in nats per token; kind is exact
    or bound. Columns are found by the names that people use, or as `columns` says by field of `Point`; others
    are ignored. Of budget, parameters and tokens two are enough. A row that repeats an earlier one exactly is
    dropped, with a warning. Of a `sweep` the best runs are kept. C is the budget, or with `flops="6ND"` six
    times parameters times tokens.

    Raises:
        InputError: a table is malformed, or does not know the convention.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    source = (
        ", ".join(map(str, files)) if len(files) < 4 else f"{files[0]} and {len(files) - 1} more"
    )
    if parameters is not None:
        raise InputError(f"{source} gives its own parameters; leave --parameters out")
    if flops in ("exact", "no_attention"):
        raise InputError(f"{source} gives budgets only; use --flops 6ND or leave --flops out")
    points: dict[Point, None] = {}
    warnings: dict[str, None] = {}
    conventions: list[tuple[str, str]] = []
    tables = [load_table(file) for file in files]
    rows = [cells for table in tables for _, cells in table.rows]
    for table in tables:
        found = find_columns(table, columns or {}, rows)
        own, said, derived = _points(table, found, sweep)
        warnings |= dict.fromkeys(said)
        conventions.append(
            (
                "6ND" if derived == "budget" else "budget",
                "C/6D" if derived == "parameters" else "as given",
            )
        )
        for where, point in own:
            if flops == "6ND":
                point = replace(point, flops=6 * point.parameters * point.tokens)
            if point in points:
                warnings[f"{where} repeats an earlier line; it is counted once"] = None
            points[point] = None
    if not points:
        raise InputError(f"{source} holds no points, only column names")
    if len(set(conventions)) > 1:
        raise InputError(f"{source}: not all give the same of C, N and D; fit them apart")
    c, n = conventions[0]
    data = Points(tuple(points), source, flops or c, n, tuple(warnings))
    return lowest_losses(data) if sweep else data


def lowest_losses(data: Points) -> Points:
    """The run of lowest loss of each family, size and number of tokens (within 1 %).

    What a sweep of learning rates or batch sizes is for. The lowest of many noisy losses lies a little below
    what one run would give.
    """
    points = data.points
    sizes, tokens = (
        _clusters([getattr(p, name) for p in points]) for name in ("parameters", "tokens")
    )
    best: dict[tuple[str, int, int, float | None], Point] = {}
    for point, n, d in zip(points, sizes, tokens, strict=True):
        key = (point.family, n, d, point.unique_tokens)
        if key not in best or point.nats < best[key].nats:
            best[key] = point
    said = f"the best run of each (N, D) is kept: {len(best)} of {len(points)}"
    return replace(data, points=tuple(best.values()), warnings=(*data.warnings, said))


def _clusters(values: Sequence[float]) -> list[int]:
    """A number for each value, the same for those that differ by 1 % at most."""
    number, start, found = -1, 0.0, {}
    for value in sorted(set(values)):
        if value > start * (1 + _TOLERANCE):
            number, start = number + 1, value
        found[value] = number
    return [found[value] for value in values]


def _points(
    table: TableFile, columns: dict[str, FieldSource], sweep: bool
) -> tuple[list[tuple[str, Point]], list[str], str | None]:
    """The points with their places, what is to be said of the table, and which count was derived."""
    derived = next((name for name in _DERIVED if name not in columns), None)
    said = misspelled(table, columns)
    if reading := _reading(columns, derived):
        said.append(reading)
    rows = _finished(table, columns, said)
    if "step" in columns:
        rows = _last_rows(table, rows, columns, said)
    if "step" in columns and len(rows) == 1 and "id" not in columns:
        columns["id"] = FieldSource(literal=table.path.stem)
    if sweep:
        rows = _with_losses(table, rows, columns, said)
    points = [(where, _point(_values(columns, cells), derived, where)) for where, cells in rows]
    return points, said, derived


def _reading(columns: Mapping[str, FieldSource], derived: str | None) -> str | None:
    """How a table was understood, where it does not use the fields' own names."""
    if (
        derived is None
        and "family" in columns
        and all(column.factors == (field,) for field, column in columns.items())
    ):
        return None
    fields = ("family", "budget", "parameters", "tokens", "nats", "standard_error", "unique_tokens")
    read = [f"{field} from {columns[field]}" for field in fields if field in columns]
    if derived:
        read.append(_DERIVED[derived][0])
    if "family" not in columns:
        read.append(f"all runs as {REFERENCE}, as no column tells families")
    return f"read as {', '.join(read)}; other columns are ignored (--columns chooses)"


def _values(columns: Mapping[str, FieldSource], cells: Cells) -> dict[str, Any]:
    """The fields of a point; optional ones only where the row has them."""
    values: dict[str, Any] = {"family": REFERENCE}
    for field, column in columns.items():
        if field in ("step", "state"):
            continue
        cell = column.cell(cells)
        if field in _MEASURED:
            cell = _measured(cell, magnitudes=field in _NUMBERS)
        if field in ("family", "id", "kind") and cell is not None:
            cell = str(cell)
        if field not in _OPTIONAL or (cell is not None and cell != ""):
            values[field] = cell
    return values


def _measured(cell: Any, magnitudes: bool) -> Any:
    """A number that a cell stands for; what is none stays as written, for the message."""
    number = as_number(cell)
    if isinstance(number, float) and number > 0 and (magnitudes or not isinstance(cell, str)):
        return number
    return f"{cell[:60]}…" if isinstance(cell, str) and len(cell) > 60 else cell


def _point(values: dict[str, Any], derived: str | None, where: str) -> Point:
    """A checked point, with the count that is derived.

    Raises:
        InputError: a value is missing or no such number.
    """
    placeholder = {} if derived is None else {derived: 1.0}
    values = {**values, **placeholder}
    point = from_json(Point, {"flops": values["budget"], **values}, where, mend="")
    if derived is None:
        return point
    count = _DERIVED[derived][1](point)
    point = replace(point, **{derived: count})
    return from_json(Point, {**asdict(point), "flops": point.budget}, where, mend="")


def _finished(table: TableFile, columns: Mapping[str, FieldSource], said: list[str]) -> _Rows:
    """The rows without those that Weights & Biases marks as not finished."""
    kept = [
        row
        for row in table.rows
        if str(_cell(columns, "state", row[1])).strip().lower() not in _UNFINISHED
    ]
    if lost := len(table.rows) - len(kept):
        said.append(f"{table.path}: {lost} runs are left out, whose state is not finished")
    return kept


def _with_losses(
    table: TableFile, rows: _Rows, columns: Mapping[str, FieldSource], said: list[str]
) -> _Rows:
    """The rows of a sweep without runs that diverged: no loss, or one that is not finite."""
    kept = [
        row
        for row in rows
        if not _absent(loss := _cell(columns, "nats", row[1]))
        and str(loss).strip("+ ").lower() not in ("inf", "infinity")
    ]
    if lost := len(rows) - len(kept):
        said.append(
            f"{table.path}: {lost} runs of the sweep are left out, which have no finite loss"
        )
    return kept


def _last_rows(
    table: TableFile, rows: _Rows, columns: Mapping[str, FieldSource], said: list[str]
) -> _Rows:
    """Of each run the last row with a loss, what it lacks filled from the rows before.

    Raises:
        InputError: rows that name no run are of several.
    """
    runs: dict[str, list[tuple[str, Cells]]] = {}
    for row in rows:
        runs.setdefault(str(_cell(columns, "id", row[1])), []).append(row)
    last = [_last_row(table, own, columns) for own in runs.values()]
    kept = [row for row in last if row is not None]
    if len(kept) < len(last):
        said.append(f"{table.path}: {len(last) - len(kept)} runs are left out, which have no loss")
    if len(kept) < len(rows):
        said.append("histories (_step): the last row of each run is taken")
    return kept


def _last_row(
    table: TableFile, rows: _Rows, columns: Mapping[str, FieldSource]
) -> tuple[str, Cells] | None:
    def step(row: tuple[str, Cells]) -> float:
        number = as_number(_cell(columns, "step", row[1]))
        if not isinstance(number, int | float) or not math.isfinite(number):
            raise InputError(f"{row[0]}: step: input should be a finite number, not {number!r:.40}")
        return number

    filled: dict[str, Any] = {}
    known: dict[str, Any] = {}
    last: tuple[str, Cells] | None = None
    for where, cells in sorted(rows, key=step):
        filled |= {name: cell for name, cell in cells.items() if not _absent(cell)}
        now = {name: as_number(_cell(columns, name, filled)) for name in _OF_A_RUN}
        now = {name: value for name, value in now.items() if value is not None}
        if any(
            _contradicts(name, known[name], value) for name, value in now.items() if name in known
        ):
            raise InputError(
                f"{where}: these rows are of several runs; say which column names them: "
                "--columns run=COLUMN"
            )
        known = now
        if not _absent(_cell(columns, "nats", cells)):
            last = (where, dict(filled))
    return last


def _contradicts(name: str, before: Any, now: Any) -> bool:
    """Whether one run cannot have both values, one after the other."""
    if name in ("family", "parameters") or not isinstance(before, float | int):
        return before != now
    return isinstance(now, float | int) and now < before


def _cell(columns: Mapping[str, FieldSource], field: str, cells: Cells) -> Any:
    return columns[field].cell(cells) if field in columns else None


def _absent(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip().lower() in ("", "nan", "none", "null")
    return cell is None or (isinstance(cell, float) and math.isnan(cell))
