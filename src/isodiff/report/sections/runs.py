"""Every run with what became of it; its row leads to its record."""

from __future__ import annotations

from isodiff.report.blocks import MISSING, Cell, Column, Section, Table, missing
from isodiff.report.format import MARKS, scientific, with_error
from isodiff.report.study_folder import StudyFolder, StudyRun
from isodiff.units import clock, short

_COLUMNS = (
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
_CAPTION = "A heading sorts by its column. ± is one standard error of the evaluation; = exact, ≤ upper bound."


def runs_section(study: StudyFolder) -> Section:
    """The runs by family, budget and size."""
    if not study.runs:
        return missing("Runs", "runs", "The study has no runs yet.")
    rows, anchors = tuple(map(_row, study.runs)), tuple(run.record.id for run in study.runs)
    table = Table(_COLUMNS, rows, caption=_CAPTION, style="sortable", anchors=anchors)
    return Section("Runs", [table], "runs")


def _status(run: StudyRun) -> Cell:
    """What became of a run; one on the unigram plateau is done and counts for no law."""
    if run.on_plateau:
        return Cell("on plateau", note="of token frequencies; in no fit", mark="plateau")
    return Cell(run.record.status, note=run.record.message or "", mark=run.record.status)


def _row(run: StudyRun) -> tuple[Cell, ...]:
    record, validation = run.record, run.record.validation
    spec, size = record.spec, record.parameters.non_embedding
    losses = [MISSING, MISSING]
    if validation is not None:
        mark = MARKS[validation.kind]
        losses = [
            Cell(f"{mark} {with_error(mean)}", key=mean.value)
            for mean in (validation.nats_per_token, validation.bits_per_byte)
        ]

    def number(value: float | None, text: str) -> Cell:
        return MISSING if value is None else Cell(text, key=value)

    return (
        Cell(run.family),
        Cell(scientific(spec.budget), key=spec.budget),
        number(size, short(size or 0)),
        Cell(f"{spec.shape.depth}×{spec.shape.width}×{spec.shape.heads}", key=size),
        Cell(str(spec.seed), key=spec.seed),
        number(record.tokens, short(record.tokens or 0)),
        number(record.epochs, f"{record.epochs or 0:.3g}"),
        *losses,
        _status(run),
        number(record.wall_seconds, clock(record.wall_seconds or 0)),
        number(record.tokens_per_second, short(record.tokens_per_second or 0)),
        Cell(record.id, file=run.file),
    )
