"""Figures of runs: IsoFLOP curves by family, training curves by budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from isodiff.report.axes import apart, around, around_log, linear, logarithmic
from isodiff.report.folder import Run, StudyFolder
from isodiff.report.format import scientific, size_interval, with_error
from isodiff.report.panels import (
    LOSS,
    Chart,
    Rows,
    data,
    family_channels,
    heading,
    layout,
    panels,
)
from isodiff.report.schema import Validation
from isodiff.report.theme import INK, MUTED, PAPER, color, shape
from isodiff.scaling.laws.isoflop_result import IsoflopCurve, Minimum
from isodiff.units import short

LINE_HEIGHT = 0.055
"""Height of a line of text in a panel, as a share of the panel's."""


def isoflop(study: StudyFolder, narrow: bool) -> Chart | None:
    """Loss against parameters: a curve per budget, a panel per family, the minima marked."""
    points = {family: loss_points(study, family) for family in study.families}
    shown = [family for family in study.families if points[family]]
    if not shown:
        return None
    across, width = layout(len(shown), narrow, most=2 if len(shown) == 4 else 3)
    x, y = isoflop_axes(study, [row for family in shown for row in points[family]])
    charts = []
    for i, family in enumerate(shown):
        place = study.families.index(family)
        fit, ink = study.fit(family), color(place)
        loss = y if i % across == 0 else {**y, "axis": alt.Axis(title=None, tickCount=5)}
        layers = [
            *parabolas(fit.curves, points[family], ink, x, loss),
            *runs_with_errors(points[family], place, x, loss),
            budget_names(points[family], x, loss),
            *minima(family, fit.budgets, x, loss),
        ]
        title = heading(family, ink)
        height = 240 if narrow else 270
        charts.append(alt.layer(*layers).properties(width=width, height=height, title=title))
    return panels(charts, across)


def loss_points(study: StudyFolder, family: str) -> Rows:
    """Final losses of a family's runs, with one standard error either way."""
    rows = []
    for run in study.finished:
        validation, size = run.record.validation, study.parameters(run)
        if run.family != family or validation is None or not size:
            continue
        nats = validation.nats_per_token
        rows.append(
            {
                "parameters": size,
                "nats": nats.value,
                "low": nats.value - nats.standard_error,
                "high": nats.value + nats.standard_error,
                "budget": run.budget,
                "note": f"{family}, {scientific(run.budget)} FLOPs, {short(size)} parameters: "
                f"{with_error(nats)} nats per token, run {run.record.id}",
            }
        )
    return rows


def isoflop_axes(study: StudyFolder, points: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
    """The channels that all panels share; room on the right for the budgets' names."""
    drawn = [
        point
        for family in study.families
        for curve in study.fit(family).curves
        for point in curve.line
    ]
    sizes = [row["parameters"] for row in points] + [point.parameters for point in drawn]
    losses = [row[end] for row in points for end in ("low", "high")]
    counted = study.parameters_convention.replace("_", "-")
    return (
        logarithmic("parameters", f"{counted} parameters N", around_log(sizes, right=0.2), short),
        linear("nats", LOSS, around(losses + [point.nats for point in drawn])),
    )


def parabolas(
    curves: Sequence[IsoflopCurve], points: Rows, ink: str, x: Any, y: Any
) -> list[Chart]:
    """The fitted parabolas, dashed where refused; plain joins where nothing was fitted."""
    accepted = [row for curve in curves if curve.accepted for row in samples(curve)]
    refused = [row for curve in curves if not curve.accepted for row in samples(curve)]
    joins = [] if curves else points
    styles: list[tuple[Rows, dict[str, Any]]] = [
        (accepted, {"strokeWidth": 1.5}),
        (refused, {"strokeWidth": 1.5, "strokeDash": [3, 3], "opacity": 0.7}),
        (joins, {"strokeWidth": 1, "opacity": 0.6}),
    ]
    return [
        alt.Chart(data(rows))
        .mark_line(color=ink, aria=False, **style)
        .encode(x=alt.X(**x), y=alt.Y(**y), detail="budget:Q")
        for rows, style in styles
        if rows
    ]


def samples(curve: IsoflopCurve) -> Rows:
    """The drawn points of a parabola."""
    budget = curve.budget or curve.flops
    return [{**vars(point), "budget": budget} for point in curve.line]


def runs_with_errors(points: Rows, place: int, x: Any, y: Any) -> list[Chart]:
    """A mark and an error bar per run."""
    base = alt.Chart(data(points)).encode(x=alt.X(**x))
    mark = base.mark_point(color=color(place), filled=True, opacity=1, size=38, shape=shape(place))
    return [
        base.mark_rule(color=color(place), aria=False).encode(
            y=alt.Y(**{**y, "shorthand": "low:Q"}), y2="high:Q"
        ),
        mark.encode(y=alt.Y(**y), description="note:N"),
    ]


def budget_names(points: Rows, x: Any, y: Any) -> Chart:
    """The budget of each curve at its right end; names that would touch are moved apart."""
    ends = {row["budget"]: row for row in sorted(points, key=lambda row: row["parameters"])}
    rows = sorted(ends.values(), key=lambda row: row["nats"])
    low, high = y["scale"].domain
    heights = apart([row["nats"] for row in rows], LINE_HEIGHT * (high - low))
    named = [
        {"parameters": row["parameters"], "nats": height, "label": scientific(row["budget"])}
        for row, height in zip(rows, heights, strict=True)
    ]
    text = alt.Chart(data(named)).mark_text(
        align="left", dx=8, color=MUTED, fontSize=11, aria=False
    )
    return text.encode(x=alt.X(**x), y=alt.Y(**y), text="label:N")


def minima(family: str, found: Sequence[Minimum], x: Any, y: Any) -> list[Chart]:
    """The trusted minima, joined from budget to budget."""
    rows = [
        {
            "parameters": minimum.N_opt,
            "nats": minimum.L_opt,
            "note": f"{family}, minimum at {scientific(minimum.compute)} FLOPs: "
            f"N* {size_interval(minimum)} parameters, L* {minimum.L_opt:.4f} nats per token",
        }
        for minimum in found
    ]
    base = alt.Chart(data(rows)).encode(x=alt.X(**x), y=alt.Y(**y))
    ring = base.mark_point(stroke=INK, fill=PAPER, size=70, shape="diamond", opacity=1)
    path = base.mark_line(color=MUTED, strokeDash=[2, 3], strokeWidth=1, aria=False)
    return [path, ring.encode(description="note:N")] if rows else []


def training(study: StudyFolder, narrow: bool) -> Chart | None:
    """Validation loss on the way, a panel per budget: every run thin, each family's best thick."""
    traced = [run for run in study.runs if run.record.curve and path(run)]
    if not traced:
        return None
    budgets = sorted({run.budget for run in traced})
    across, width = layout(len(budgets), narrow)
    shown = [family for family in study.families if any(run.family == family for run in traced)]
    charts = []
    for i, budget in enumerate(budgets):
        runs = [run for run in traced if run.budget == budget]
        rows = [row for run in runs for row in path(run)]
        spent, losses = [row["flops"] for row in rows], [row["nats"] for row in rows]
        x = logarithmic("flops", "training FLOPs spent", around_log(spent), scientific)
        y = logarithmic("nats", LOSS if i % across == 0 else None, around_log(losses), short)
        layers = training_layers(study, shown, runs, x, y, narrow)
        title = heading(f"Budget {scientific(budget)} FLOPs")
        height = 230 if narrow else 270
        charts.append(alt.layer(*layers).properties(width=width, height=height, title=title))
    return panels(charts, across)


def path(run: Run) -> Rows:
    """A run's losses on the way and, where it finished, at the end."""
    about = {"family": run.family, "id": run.record.id}
    rows = [
        {**about, "flops": point.flops, "nats": point.nats_per_token}
        for point in run.record.curve
        if point.flops > 0 and point.nats_per_token > 0  # the axes are logarithmic
    ]
    if run.record.validation is not None:
        flops = run.record.flops.get("exact", run.budget)
        rows.append({**about, "flops": flops, "nats": final(run.record.validation)})
    return rows


def final(validation: Validation) -> float:
    """The loss a run ended with, nats per token."""
    return validation.nats_per_token.value


def training_layers(
    study: StudyFolder, shown: Sequence[str], runs: Sequence[Run], x: Any, y: Any, narrow: bool
) -> list[Chart]:
    """Thin lines of all runs, thick ones and end points of each family's best."""
    best: dict[str, Run] = {}
    for run in runs:
        validation, leader = run.record.validation, best.get(run.family)
        if validation is None:
            continue
        if leader is None or final(validation) < final(leader.record.validation or validation):
            best[run.family] = run
    ink, lines, forms = family_channels(study.families, shown, narrow)
    place = {"x": alt.X(**x), "y": alt.Y(**y), "color": ink}
    every = alt.Chart(data([row for run in runs for row in path(run)]))
    thick = alt.Chart(data([row for run in best.values() for row in path(run)]))
    ends = [
        {
            **path(run)[-1],
            "note": f"{family}, best run {run.record.id}: {path(run)[-1]['nats']:.4f} nats per "
            f"token after {scientific(path(run)[-1]['flops'])} FLOPs",
        }
        for family, run in best.items()
    ]
    return [
        every.mark_line(strokeWidth=0.75, opacity=0.35, aria=False).encode(**place, detail="id:N"),
        thick.mark_line(strokeWidth=2, aria=False).encode(**place, strokeDash=lines),
        alt.Chart(data(ends))
        .mark_point(filled=True, opacity=1, size=50)
        .encode(**place, shape=forms, description="note:N"),
    ]
