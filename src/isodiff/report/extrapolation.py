"""Every family at ten times a study's largest budget, on the study's own text and as fast as its runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from isodiff.errors import InputError
from isodiff.report.folder import StudyFolder
from isodiff.report.format import MARKS, scientific, shown
from isodiff.report.tables import Cell, Column, Part, Table
from isodiff.scaling.laws.law import LawResult
from isodiff.scaling.planning.hardware import Setting
from isodiff.scaling.planning.reasons import span
from isodiff.scaling.planning.recommend import plan
from isodiff.units import short

TIMES = 10.0
"""The budget planned, over the largest of the study."""


def planned(study: StudyFolder) -> Part:
    """Every family at ten times the largest budget, on the study's own text."""
    heading = f"At {TIMES:g} times the largest budget"
    laws = [law for law in study.laws.values() if law.families and drawn(law)]
    if not laws or not study.finished:
        return Part(heading, None, "No law, so no plan.")
    budget = TIMES * max(run.budget for run in study.finished)
    limit = study.study.corpus.get("train_tokens")
    try:
        found = plan(laws, budget, None if limit is None else float(limit), setting(study))
    except InputError as error:
        return Part(heading, None, f"No plan: {error}.")
    columns = (
        Column("family", numeric=False),
        Column("N*", f"{study.parameters_convention.replace('_', '-')} parameters"),
        Column("D*", "tokens"),
        *([] if limit is None else [Column("epochs")]),
        Column("loss", "nats per token"),
        Column("time", "as fast as here"),
        Column("other laws", "loss"),
    )
    rows = []
    for name in filter(found["families"].__contains__, study.families):
        row = found["families"][name]
        others = [f"{o['law']} {o['loss']:.3f}" for o in row["other_laws"] if o["loss"] is not None]
        loss = "–"
        if row["loss"] is not None:
            mark = f"{MARKS[row['kind']]} " if row["kind"] else ""
            loss = mark + shown(row["loss"], row["loss_interval"], ".3f")
        rows.append(
            (
                Cell(name),
                sized(row["N"], row["N_interval"]),
                sized(row["D"], row["D_interval"]),
                *([] if limit is None else [Cell(f"{row['epochs']:.3g}")]),
                Cell(loss, note=row["repetition"] or ""),
                Cell(span(row["training"]["hours"])),
                Cell(", ".join(others) or "–"),
            )
        )
    text = "" if limit is None else f" and the study's text of {short(limit)} tokens"
    caption = (
        f"{scientific(budget)} FLOPs{text}, by the {found['law']} law. Losses carry the interval of a run. "
        "Laws that differ by more than their intervals are the uncertainty."
    )
    best = found["recommendation"]
    said = [f"Recommended: {best['family'] or 'nothing'}."]
    said += [
        f"{reason[0].upper()}{reason[1:]}." for reason in (*best["reasons"], *found["warnings"])
    ]
    return Part(heading, Table(columns, tuple(rows)), caption, tuple(said))


def drawn(law: LawResult) -> bool:
    """Whether the law can be read beyond its runs: older files hold curves only."""
    return all(family.draws and family.range for family in law.families.values())


def setting(study: StudyFolder) -> Setting:
    """As fast as each family's runs at its largest budget, with the study's texts."""
    speeds: dict[str, list[tuple[float, float]]] = {}
    for run in study.finished:
        flops, seconds = run.record.flops.get("exact"), run.record.wall_seconds
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
        vocab_size=int(study.study.corpus.get("vocab_size") or Setting.vocab_size),
    )


def sized(value: float, ends: Sequence[float] | None) -> Cell:
    """A count, its interval below it."""
    note = "" if ends is None else f"{short(ends[0])} to {short(ends[1])}"
    return Cell(short(value), note=note)
