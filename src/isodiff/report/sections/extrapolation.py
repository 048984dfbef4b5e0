"""Every family at ten times a study's largest budget, on the study's own text and as fast as its runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from isodiff.errors import InputError, without_folders
from isodiff.report.blocks import Block, Cell, Column, Table, Text
from isodiff.report.format import MARKS, scientific, sentence, spread
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.laws.law import LawResult
from isodiff.scaling.planning.family_plan import FamilyPlan
from isodiff.scaling.planning.hardware import Setting
from isodiff.scaling.planning.recommend import plan
from isodiff.units import duration, short

_TIMES = 10.0  # the budget planned, over the largest of the study


def extrapolation(study: StudyFolder) -> list[Block]:
    """Every family at ten times the largest budget, on the study's own text and as fast as its runs."""
    title = f"At {_TIMES:g} times the largest budget"
    laws = [law for law in study.laws.values() if law.families and _readable(law)]
    if not laws or not study.finished:
        return [Text(["No law, so no plan."], "missing", title=title)]
    budget = _TIMES * max(run.budget for run in study.finished)
    limit = study.study.corpus.train_tokens
    try:
        found = plan(laws, budget, None if limit is None else float(limit), study_setting(study))
    except InputError as error:
        return [Text([f"No plan: {without_folders(str(error))}."], "missing", title=title)]
    columns = (
        Column("family", numeric=False),
        Column("N*", f"{study.parameters_convention.replace('_', '-')} parameters"),
        Column("D*", "tokens"),
        *([] if limit is None else [Column("epochs")]),
        Column("loss", "nats per token"),
        Column("time", "as fast as here"),
        Column("other laws", "loss"),
    )
    shown = [name for name in study.families if name in found.families]
    rows = tuple(_extrapolated(name, found.families[name], limit is not None) for name in shown)
    text = "" if limit is None else f" and the study's text of {short(limit)} tokens"
    caption = (
        f"{scientific(budget)} FLOPs{text}, by the {found.law} law. Losses carry the interval of a run. "
        "Laws that differ by more than their intervals are the uncertainty."
    )
    best = found.recommendation
    said = [f"{best.title}."]
    said += map(sentence, (*best.reasons, *found.warnings))
    return [Table(columns, rows, title=title, caption=caption), Text(said, "list")]


def _extrapolated(name: str, family: FamilyPlan, limited: bool) -> tuple[Cell, ...]:
    others = [f"{one.law} {one.loss:.3f}" for one in family.other_laws if one.loss is not None]
    mark = f"{MARKS[family.kind]} " if family.kind and family.loss is not None else ""
    loss = mark + spread(family.loss, family.loss_interval, ".3f")
    if family.least_loss is not None:
        loss = f"unknown, not below {family.least_loss:.3f}"
    return (
        Cell(name),
        _sized(family.N, family.N_interval),
        _sized(family.D, family.D_interval),
        *([Cell(f"{family.epochs:.3g}")] if limited else []),
        Cell(loss, note=family.repetition or ""),
        Cell(duration(family.training.hours)),
        Cell(", ".join(others) or "–"),
    )


def _sized(value: float, ends: Sequence[float] | None) -> Cell:
    """A count, its interval below it."""
    note = "" if ends is None else f"{short(ends[0])} to {short(ends[1])}"
    return Cell(short(value), note=note)


def _readable(law: LawResult) -> bool:
    """Whether the law can be read beyond its runs: older files hold curves only."""
    return all(family.draws is not None and family.range for family in law.families.values())


def study_setting(study: StudyFolder) -> Setting:
    """As fast as each family's runs at its largest budget, with the study's texts."""
    speeds: dict[str, list[tuple[float, float]]] = {}
    for run in study.finished:
        flops, seconds = run.record.flops.exact, run.record.wall_seconds
        if flops and seconds:
            speeds.setdefault(run.family, []).append((run.budget, flops / seconds))
    measured = {
        family: median(speed for budget, speed in own if budget == max(own)[0])
        for family, own in speeds.items()
    }
    lengths = [run.record.spec.length for run in study.finished if run.record.spec.length]
    return Setting(
        measured=measured,
        length=lengths[0] if lengths else Setting.length,
        vocab_size=study.study.corpus.vocab_size or Setting.vocab_size,
    )
