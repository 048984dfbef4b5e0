"""Benchmarks of a study's runs, side by side: what lies in `tasks/*.json` of each run's folder.

Runs fine-tuned from those of the study may lie in its folder `tuned`; they stand in this table only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isodiff.record import Mean, Record
from isodiff.report.blocks import MISSING, Cell, Column, Section, Table
from isodiff.report.format import MARKS, ratio, scientific, with_error
from isodiff.report.study_folder import StudyFolder, StudyRun
from isodiff.serialization import read_result
from isodiff.task_results import TaskResult
from isodiff.units import short

_CAPTION = (
    "Share of items answered rightly, with its 95% interval (Wilson); intervals that overlap do "
    "not tell two runs apart, and small runs are near chance. Per byte: by nats per byte of the "
    "answer. "
)


@dataclass(frozen=True, slots=True)
class _ScoredRun:
    """A run and its scores, by task."""

    run: StudyRun
    scores: dict[str, TaskResult]
    fine_tuned: bool


def benchmarks_section(study: StudyFolder) -> Section | None:
    """Runs x tasks; None where no run has a result.

    Raises:
        InputError: a file of the results is damaged.
    """
    found = _scored_runs(study)
    tables = [_table(found), *_mistakes(found)]
    return Section("Benchmarks", tables, "benchmarks") if found else None


def _scored_runs(study: StudyFolder) -> list[_ScoredRun]:
    """The runs that have results, fine-tuned ones after the others."""
    files = sorted(study.path.glob("tuned/*/record.json"))
    records = [read_result(Record, file) for file in files]
    tuned = [
        StudyRun(one, str(one.spec.family["name"]), file)
        for one, file in zip(records, files, strict=True)
    ]
    runs = [(run, False) for run in study.runs]
    runs += [(run, True) for run in sorted(tuned, key=lambda run: run.family)]
    found = []
    for run, fine_tuned in runs:
        files = sorted((run.file.parent / "tasks").glob("*.json"))
        scores = {file.stem: read_result(TaskResult, file) for file in files}
        if scores:
            found.append(_ScoredRun(run, scores, fine_tuned))
    return found


def confusion_table(result: TaskResult, fold: str = "") -> Table:
    """Right classes x chosen ones: numbers of items."""
    classes, confusion = result.classes or (), result.confusion or ()
    columns = (Column("right", numeric=False), *(Column(f"→ {label}") for label in classes))
    rows = tuple(
        (Cell(label), *(Cell(str(count) if count else "·", key=count) for count in counts))
        for label, counts in zip(classes, confusion, strict=True)
    )
    caption = f"Items by right class (rows) and chosen one, {result.undecided} of them undecided."
    return Table(columns, rows, caption=caption, fold=fold)


def _mistakes(found: Sequence[_ScoredRun]) -> Iterator[Table]:
    """Of every run and task that classifies, which class was taken for which."""
    for one in found:
        for task, score in one.scores.items():
            if score.confusion is not None:
                run = f"{one.run.family} at {scientific(one.run.budget)} FLOPs"
                yield confusion_table(score, f"{task}: which class {run} took for which")


def _table(found: Sequence[_ScoredRun]) -> Table:
    tasks = sorted({task for one in found for task in one.scores})
    columns = (
        Column("family", numeric=False),
        Column("budget", "FLOPs"),
        Column("size", "parameters, non-embedding"),
        *(Column(task, _chance([one.scores.get(task) for one in found])) for task in tasks),
    )
    protocols = {score.protocol for one in found for score in one.scores.values()} - {""}
    rows = tuple(_row(one, tasks) for one in found)
    return Table(
        columns, rows, caption=f"{_CAPTION}{'; '.join(sorted(protocols))}.", style="sortable"
    )


def _chance(scores: Sequence[TaskResult | None]) -> str:
    """What guessing would reach, where the results agree on it."""
    known = {round(score.chance, 3) for score in scores if score and score.chance is not None}
    return f"chance {known.pop():.1%}" if len(known) == 1 else ""


def _row(one: _ScoredRun, tasks: Sequence[str]) -> tuple[Cell, ...]:
    size = one.run.record.parameters.non_embedding
    return (
        Cell(one.run.family, note="fine-tuned" if one.fine_tuned else ""),
        Cell(scientific(one.run.budget), key=one.run.budget),
        MISSING if size is None else Cell(short(size), key=size),
        *(_cell(one.scores.get(task)) for task in tasks),
    )


def _mark(score: TaskResult) -> str:
    return "" if score.kind is None else MARKS[score.kind]


def _cell(score: TaskResult | None) -> Cell:
    """Accuracy with its interval before a loss; the rest as a note."""
    if score is None:
        return MISSING
    notes = []
    text, key = MISSING.text, MISSING.key
    if score.bits_per_byte is not None:
        mean = Mean(score.bits_per_byte, score.bits_per_byte_se or 0.0, 0)
        text = f"{_mark(score)} {with_error(mean)} bits per byte".strip()
        key = mean.value
    if score.accuracy is not None:
        notes += [text] * (score.bits_per_byte is not None)
        text, key = f"{score.accuracy:.1%}", score.accuracy
        if score.accuracy_interval is not None:
            low, high = score.accuracy_interval
            text += f" [{low:.1%}, {high:.1%}]"
    if score.accuracy_per_byte is not None:
        notes.append(f"per byte {score.accuracy_per_byte:.1%}")
    if score.perplexity is not None:
        notes.append(f"perplexity {_mark(score)} {ratio(score.perplexity)}")
    if score.num_items:
        notes.append(f"{score.num_items} items")
    if score.share_too_long:
        notes.append(f"{score.share_too_long:.1%} too long")
    if score.undecided:
        notes.append(f"{score.undecided} undecided")
    return Cell(text, key=key, note=", ".join(notes))
