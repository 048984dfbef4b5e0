"""Training curves: validation loss on the way against FLOPs spent, a panel per budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from isodiff.report import charts
from isodiff.report.blocks import Figure, Section, missing
from isodiff.report.charts import Chart, Rows
from isodiff.report.format import scientific
from isodiff.report.study_folder import StudyFolder, StudyRun
from isodiff.units import short

_CAPTION = (
    "Validation loss against training FLOPs spent (convention: exact), a panel per budget with its "
    "own scale. Thick lines are each family's best run, thin ones all others. On the way the loss "
    "is measured on fewer windows than at the end, so the last step may jump a little."
)


def training_section(study: StudyFolder) -> Section:
    """The curves of all runs, each family's best one thick."""
    title, anchor = "Training curves", "training"
    wide, narrow = (_chart(study, narrow) for narrow in (False, True))
    if wide is None:
        return missing(title, anchor, "No run has measured its loss on the way.")
    return Section(title, [Figure(anchor, wide, narrow, _CAPTION)], anchor)


def _chart(study: StudyFolder, narrow: bool) -> Chart | None:
    """Validation loss on the way, a panel per budget: every run thin, each family's best thick."""
    traced = [run for run in study.runs if run.record.curve and _path(run)]
    if not traced:
        return None
    budgets = sorted({run.budget for run in traced})
    across, width = charts.layout(len(budgets), narrow)
    shown = [family for family in study.families if any(run.family == family for run in traced)]
    drawn = []
    for i, budget in enumerate(budgets):
        runs = [run for run in traced if run.budget == budget]
        rows = [row for run in runs for row in _path(run)]
        spent, losses = [row["flops"] for row in rows], [row["nats"] for row in rows]
        x = charts.logarithmic(
            "flops", "training FLOPs spent", charts.around_log(spent), scientific
        )
        y = charts.logarithmic(
            "nats", charts.LOSS if i % across == 0 else None, charts.around_log(losses), short
        )
        layers = _layers(study, shown, runs, x, y, narrow)
        title = charts.heading(f"Budget {scientific(budget)} FLOPs")
        height = 230 if narrow else 270
        drawn.append(alt.layer(*layers).properties(width=width, height=height, title=title))
    return charts.panels(drawn, across)


def _path(run: StudyRun) -> Rows:
    """A run's losses on the way and, where it finished, at the end."""
    about = {"family": run.family, "id": run.record.id}
    rows = [
        {**about, "flops": point.flops, "nats": point.nats_per_token}
        for point in run.record.curve
        if point.flops > 0 and point.nats_per_token > 0  # the axes are logarithmic
    ]
    if run.record.validation is not None:
        rows.append({**about, "flops": run.record.flops.exact or run.budget, "nats": _final(run)})
    return rows


def _final(run: StudyRun) -> float:
    """The loss a run ended with, nats per token."""
    return run.record.validation.nats_per_token.value if run.record.validation else math.inf


def _layers(
    study: StudyFolder, shown: Sequence[str], runs: Sequence[StudyRun], x: Any, y: Any, narrow: bool
) -> list[Chart]:
    """Thin lines of all runs, thick ones and end points of each family's best."""
    finished = [run for run in runs if run.record.validation]
    named = dict.fromkeys(run.family for run in finished)
    best = {name: min((r for r in finished if r.family == name), key=_final) for name in named}
    ink, lines, forms = charts.family_channels(study.families, shown, narrow)
    place = {"x": alt.X(**x), "y": alt.Y(**y), "color": ink}
    every = alt.Chart(charts.data([row for run in runs for row in _path(run)]))
    thick = alt.Chart(charts.data([row for run in best.values() for row in _path(run)]))
    ends = [
        {
            **(end := _path(run)[-1]),
            "note": f"{family}, best run {run.record.id}: {end['nats']:.4f} nats per token after "
            f"{scientific(end['flops'])} FLOPs",
        }
        for family, run in best.items()
    ]
    return [
        every.mark_line(strokeWidth=0.75, opacity=0.35, aria=False).encode(**place, detail="id:N"),
        thick.mark_line(strokeWidth=2, aria=False).encode(**place, strokeDash=lines),
        alt.Chart(charts.data(ends))
        .mark_point(filled=True, opacity=1, size=50)
        .encode(**place, shape=forms, description="note:N"),
    ]
