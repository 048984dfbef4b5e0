"""Benchmarks of a study's runs, side by side: what lies in `tasks/*.json` of each run's folder.

Runs fine-tuned from those of the study may lie in its folder `tuned`; they stand in this table only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from isodiff.files import read_json
from isodiff.record import Kind
from isodiff.report.folder import Run, StudyFolder
from isodiff.report.format import MARKS, ratio, scientific, with_error
from isodiff.report.schema import Estimated, Part, Record, validated
from isodiff.report.tables import Cell, Column, Table
from isodiff.units import short

Share = Annotated[float, Field(ge=0, le=1)]


class Benchmark(Part):
    """What a run reached on one task: a share of items, a loss, or both."""

    task: str = ""
    kind: Kind | Literal[""] = ""
    num_items: int = 0
    accuracy: Share | None = None
    accuracy_interval: tuple[Share, Share] | None = None
    accuracy_per_byte: Share | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    bits_per_byte_se: float = 0.0
    undecided: int | None = None
    chance: Share | None = None
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """A run and its results, by task."""

    run: Run
    results: dict[str, Benchmark]


def read_benchmarks(study: StudyFolder) -> list[Benchmarked]:
    """The runs that have results, fine-tuned ones after the others.

    Raises:
        InputError: a file of them is damaged.
    """
    files = sorted(study.path.glob("tuned/*/record.json"))
    records = [validated(Record, read_json(file), str(file)) for file in files]
    tuned = [
        Run(one, one.spec.family["name"], file) for one, file in zip(records, files, strict=True)
    ]
    found = []
    for run in [*study.runs, *sorted(tuned, key=lambda run: run.family)]:
        files = sorted((run.path.parent / "tasks").glob("*.json"))
        results = {file.stem: validated(Benchmark, read_json(file), str(file)) for file in files}
        if results:
            found.append(Benchmarked(run, results))
    return found


def benchmarks_table(found: Sequence[Benchmarked]) -> Table | None:
    """Runs x tasks; None where no run has a result."""
    if not found:
        return None
    tasks = sorted({task for one in found for task in one.results})
    columns = (
        Column("family", numeric=False),
        Column("budget", "FLOPs"),
        Column("size", "parameters, non-embedding"),
        *(Column(task, chance_of([one.results.get(task) for one in found])) for task in tasks),
    )
    return Table(columns, tuple(benchmark_row(one, tasks) for one in found))


def chance_of(results: Sequence[Benchmark | None]) -> str:
    """What guessing would reach, where the results agree on it."""
    known = {round(result.chance, 3) for result in results if result and result.chance is not None}
    return f"chance {known.pop():.1%}" if len(known) == 1 else ""


def benchmark_row(one: Benchmarked, tasks: Sequence[str]) -> tuple[Cell, ...]:
    """One run."""
    record = one.run.record
    size = record.parameters.get("non_embedding")
    return (
        Cell(one.run.family, note="fine-tuned" if one.run.path.parts[-3] == "tuned" else ""),
        Cell(scientific(record.spec.budget), key=record.spec.budget),
        Cell("–", key=float("inf")) if size is None else Cell(short(size), key=size),
        *(result_cell(one.results.get(task)) for task in tasks),
    )


def result_cell(result: Benchmark | None) -> Cell:
    """Accuracy with its interval before a loss; the rest as a note."""
    if result is None:
        return Cell("–", key=float("inf"))
    notes = []
    text, key = "–", float("inf")
    if result.bits_per_byte is not None:
        mean = Estimated(value=result.bits_per_byte, standard_error=result.bits_per_byte_se)
        text, key = loss_text(result.kind, mean), mean.value
    if result.accuracy is not None:
        notes += [text] * (result.bits_per_byte is not None)
        text, key = f"{result.accuracy:.1%}", result.accuracy
        if result.accuracy_interval is not None:
            low, high = result.accuracy_interval
            text += f" [{low:.1%}, {high:.1%}]"
    if result.accuracy_per_byte is not None:
        notes.append(f"per byte {result.accuracy_per_byte:.1%}")
    if result.perplexity is not None:
        notes.append(f"perplexity {MARKS.get(result.kind, '')} {ratio(result.perplexity)}")
    if result.num_items:
        notes.append(f"{result.num_items} items")
    if result.undecided:
        notes.append(f"{result.undecided} undecided")
    return Cell(text, key=key, note=", ".join(notes))


def loss_text(kind: str, mean: Estimated) -> str:
    """Bits per byte, exact or bounded."""
    return f"{MARKS.get(kind, '')} {with_error(mean)} bits per byte".strip()


def protocols(found: Sequence[Benchmarked]) -> list[str]:
    """How the numbers were made, each way once."""
    every = {result.protocol for one in found for result in one.results.values()}
    return sorted(every - {""})
