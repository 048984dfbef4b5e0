"""One row per run: what it was, what it cost, what it reached."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from csv import DictWriter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from isodiff.cli.options import RunFolders
from isodiff.cli.verb import Answer
from isodiff.errors import InputError
from isodiff.record import Kind, Record, Status, find_records, flat
from isodiff.report.blocks import Table
from isodiff.report.text import terminal
from isodiff.scaling.points import family_labels, variants
from isodiff.serialization import to_json
from isodiff.units import short

_SETTINGS = ("family", "recipe", "backbone", "validation", "corpus", "init", "task")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A run. The first columns are those of a table of points, which `isodiff fit` reads.

    Attributes:
        parameters: N, non-embedding.
        tokens: D, seen in training.
        budget, flops: training FLOPs that it was given, and that its steps cost.
        flops_trained: those of the steps that it did itself.
        settings: all of its spec that is not above, by dotted names.
    """

    run: str
    family: str
    budget: float
    parameters: int | None
    tokens: float | None
    nats: float | None
    standard_error: float | None
    kind: Kind | None
    unique_tokens: float | None
    bits_per_byte: float | None
    bits_per_byte_standard_error: float | None
    status: Status
    message: str | None
    flops: float | None
    flops_trained: float | None
    total_parameters: int | None
    steps: int | None
    epochs: float | None
    wall_seconds: float | None
    tokens_per_second: float | None
    device: str | None
    precision: str | None
    shape: str
    length: int | None
    seed: int
    folder: str
    settings: dict[str, Any]


def run(runs: Annotated[tuple[RunFolders, ...], Positional], *, csv: bool = False) -> Answer:
    """Show one row per run: family, size, tokens, FLOPs, loss with its standard error, and all settings.

    A table for people shows the settings in which the runs differ; CSV and JSON have all of them, by dotted
    names (recipe.learning_rate). Runs that did not finish have no loss.

    Args:
        runs: Run folders, or folders of runs.
        csv: Print CSV.
    """
    if not runs:
        raise InputError("which runs? give run folders, or a folder of runs")
    rows = _rows(find_records(runs))
    return Answer({"runs": to_json(rows)}, _csv(rows) if csv else _for_people(rows))


def _rows(records: Mapping[Path, Record]) -> list[_Row]:
    """By family, budget, size and seed."""
    labels = family_labels(variants([record.spec for record in records.values()]))
    rows = [
        _row(record, label, str(folder))
        for (folder, record), label in zip(records.items(), labels, strict=True)
    ]
    return sorted(rows, key=lambda row: (row.family, row.budget, row.parameters or 0, row.seed))


def _row(record: Record, label: str, folder: str) -> _Row:
    spec, loss = record.spec, record.validation
    settings = flat({part: to_json(getattr(spec, part)) or {} for part in _SETTINGS})
    return _Row(
        run=record.id,
        family=label,
        budget=spec.budget,
        parameters=record.parameters.non_embedding,
        tokens=record.tokens,
        nats=None if loss is None else loss.nats_per_token.value,
        standard_error=None if loss is None else loss.nats_per_token.standard_error,
        kind=None if loss is None else loss.kind,
        unique_tokens=record.tokens / record.epochs if record.tokens and record.epochs else None,
        bits_per_byte=None if loss is None else loss.bits_per_byte.value,
        bits_per_byte_standard_error=None if loss is None else loss.bits_per_byte.standard_error,
        status=record.status,
        message=record.message,
        flops=record.flops.exact,
        flops_trained=record.flops.trained,
        total_parameters=record.parameters.total,
        steps=record.steps,
        epochs=record.epochs,
        wall_seconds=record.wall_seconds,
        tokens_per_second=record.tokens_per_second,
        device=record.device,
        precision=record.precision,
        shape=f"{spec.shape.depth}x{spec.shape.width}x{spec.shape.heads}",
        length=spec.length,
        seed=spec.seed,
        folder=folder,
        settings=settings,
    )


def _csv(rows: Sequence[_Row]) -> str:
    """A column for every setting of any run; nothing where a value is not known."""
    text = io.StringIO()
    flattened = [(row := to_json(one)) | row.pop("settings") for one in rows]
    names = dict.fromkeys(name for row in flattened for name in row)
    writer = DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flattened)
    return text.getvalue().rstrip("\n")


def _for_people(rows: Sequence[_Row]) -> str:
    """The figures, and the settings in which the runs differ."""
    names = dict.fromkeys(name for row in rows for name in row.settings)
    differ = [name for name in names if len({str(row.settings.get(name)) for row in rows}) > 1]
    columns: dict[str, Callable[[_Row], object]] = {
        "run": lambda row: row.run,
        "family": lambda row: row.family,
        "shape": lambda row: row.shape,
        "seed": lambda row: row.seed,
        "N": lambda row: _number(row.parameters),
        "D": lambda row: _number(row.tokens),
        "FLOPs": lambda row: _number(row.flops),
        "nats/token": _loss,
    }
    for name in differ:
        if name != "family.name":
            columns[name] = lambda row, name=name: row.settings.get(name, "-")
    return terminal(Table.of_columns(columns, [(row,) for row in rows]))


def _number(value: float | None) -> str:
    return "-" if value is None else short(value)


def _loss(row: _Row) -> str:
    if row.nats is None:
        return row.status
    bound = "≤ " if row.kind == "bound" else ""
    return f"{bound}{row.nats:.4f} ± {row.standard_error:.4f}"
