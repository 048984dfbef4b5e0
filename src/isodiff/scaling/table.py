"""Points from a CSV table."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from isodiff.errors import InputError, nearest
from isodiff.record import Convention, Kind
from isodiff.scaling.points import Parameters, Point, Points, check

COLUMNS = ("family", "budget", "parameters", "tokens", "nats")
OPTIONAL = ("standard_error", "unique_tokens", "kind")


def table_points(
    path: Path, flops: Convention | None = None, parameters: Parameters | None = None
) -> Points:
    """Points of a CSV with the columns `COLUMNS` and, if wanted, `OPTIONAL`.

    Units: FLOPs, parameters and tokens as plain numbers (1e18), losses in nats per token; kind is
    exact or bound. A row that repeats an earlier one exactly is dropped, with a warning. C is the
    budget, or with `flops="6ND"` six times parameters times tokens.
    """
    if parameters is not None:
        raise InputError(f"{path} gives its own parameters; leave --parameters out")
    if flops in ("exact", "no_attention"):
        raise InputError(f"{path} gives budgets only; use --flops 6ND or leave --flops out")
    points: dict[Point, None] = {}
    warnings: list[str] = []
    for where, cells in rows(path):
        point = table_point(cells, where, flops)
        if point in points:
            warnings.append(f"{where} repeats an earlier line; it is counted once")
        points[point] = None
    if not points:
        raise InputError(f"{path} holds no points, only column names")
    return Points(tuple(points), str(path), flops or "budget", "as given", tuple(warnings))


def rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, cells by column) of each line of the table that is not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a table of points, or run folders") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save the table as UTF-8") from None
    reader = csv.reader(io.StringIO(text))
    try:
        header = [name.strip() for name in next(reader, [])]
        check_columns(path, header)
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise InputError(f"{where}: {len(row)} cells under {len(header)} column names")
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from None


def check_columns(path: Path, header: Sequence[str]) -> None:
    """Every wanted column once, no other."""
    where = f"{path}, line 1"
    known = (*COLUMNS, *OPTIONAL)
    for name, count in Counter(header).items():
        if name not in known:
            raise InputError(f"{where}: unknown column {name!r}{nearest(name, known)}; {legend()}")
        if count > 1:
            raise InputError(f"{where}: column {name!r} stands twice; {legend()}")
    for name in COLUMNS:
        if name not in header:
            raise InputError(f"{where}: column {name!r} is missing; {legend()}")


def legend() -> str:
    """The columns of a table of points, for an error message."""
    return f"columns are {','.join(COLUMNS)}[,{','.join(OPTIONAL)}]"


def table_point(cells: dict[str, str], where: str, flops: Convention | None) -> Point:
    """One line of the table."""

    def number(name: str) -> float:
        try:
            return float(cells[name])
        except ValueError:
            raise InputError(f"{where}: {name} {cells[name]!r} is not a number") from None

    def optional(name: str) -> float | None:
        return number(name) if cells.get(name, "").strip() else None

    family = cells["family"].strip()
    if not family:
        raise InputError(f"{where}: family is empty")
    budget, parameters, tokens = number("budget"), number("parameters"), number("tokens")
    point = Point(
        family=family,
        budget=budget,
        flops=budget if flops is None else 6 * parameters * tokens,
        parameters=parameters,
        tokens=tokens,
        nats=number("nats"),
        standard_error=optional("standard_error"),
        unique_tokens=optional("unique_tokens"),
        kind=cells.get("kind", "").strip() or None,  # type: ignore[arg-type]
    )
    check(point, where)
    if point.kind not in (None, *get_args(Kind)):
        raise InputError(f"{where}: kind is {point.kind!r}; it must be exact or bound")
    return point
