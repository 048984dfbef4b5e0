"""IsoFLOP curves: the final loss of every run against its size, a curve per budget, minima marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from isodiff.report import charts
from isodiff.report.blocks import Figure, Section, missing
from isodiff.report.charts import Chart, Rows
from isodiff.report.format import scientific, spread, with_error
from isodiff.report.study_folder import StudyFolder
from isodiff.report.theme import INK, MUTED, PAPER, color, shape
from isodiff.scaling.laws.isoflop_result import IsoflopCurve, Minimum
from isodiff.units import short

_REFUSALS = {
    "too_few_sizes": "fewer than three sizes",
    "concave": "the losses do not curve upwards",
    "edge": "the lowest loss is at the edge of the sizes tried",
}
_LINE_HEIGHT = 0.055  # of a line of text in a panel, as a share of the panel's


def isoflop_section(study: StudyFolder) -> Section:
    """The curves, which minima were refused and why."""
    title, anchor = "IsoFLOP curves", "isoflop"
    wide, narrow = (_chart(study, narrow) for narrow in (False, True))
    if wide is None:
        return missing(title, anchor, "No run has finished yet.")
    return Section(title, [Figure(anchor, wide, narrow, _caption(study))], anchor)


def _caption(study: StudyFolder) -> str:
    bars = "Bars, often smaller than the marks, are one standard error of the evaluation."
    if study.fits is None or not study.fits.families:
        return f"Final validation loss of every run, joined by budget; nothing was fitted. {bars}"
    refused = [
        f"{family} at {scientific(curve.budget or curve.flops)} "
        f"({_REFUSALS.get(curve.reason, curve.reason)})"
        for family in study.families
        for curve in study.fit(family).refused
    ]
    left_out = f" Refused, and dashed: {'; '.join(refused)}." if refused else ""
    if any(run.on_plateau for run in study.runs):
        left_out += " Hollow: runs on the unigram plateau, in no fit."
    return (
        "Final validation loss of every run against its size, a curve per training budget (FLOPs "
        f"at its right end). Lines are least-squares parabolas in ln N, open diamonds their minima. "
        f"{bars}{left_out}"
    )


def _chart(study: StudyFolder, narrow: bool) -> Chart | None:
    """Loss against parameters: a curve per budget, a panel per family, the minima marked."""
    points = {family: _loss_points(study, family) for family in study.families}
    shown = [family for family in study.families if points[family]]
    if not shown:
        return None
    across, width = charts.layout(len(shown), narrow, most=2 if len(shown) == 4 else 3)
    x, y = _axes(study, [row for family in shown for row in points[family]])
    drawn = []
    for i, family in enumerate(shown):
        place = study.families.index(family)
        fit, ink = study.fit(family), color(place)
        loss = y if i % across == 0 else {**y, "axis": alt.Axis(title=None, tickCount=5)}
        layers = [
            *_parabolas(fit.curves, points[family], ink, x, loss),
            *_runs_with_errors(points[family], place, x, loss),
            _budget_names(points[family], x, loss),
            *_minima(family, fit.budgets, x, loss),
        ]
        title = charts.heading(family, ink)
        height = 240 if narrow else 270
        drawn.append(alt.layer(*layers).properties(width=width, height=height, title=title))
    return charts.panels(drawn, across)


def _loss_points(study: StudyFolder, family: str) -> Rows:
    """Final losses of a family's runs, with one standard error either way."""
    rows = []
    for run in study.finished:
        validation, size = run.record.validation, study.parameters(run)
        if run.family != family or validation is None or not size:
            continue
        nats, plateau = validation.nats_per_token, ", on the unigram plateau" * run.on_plateau
        rows.append(
            {
                "parameters": size,
                "nats": nats.value,
                "low": nats.value - nats.standard_error,
                "high": nats.value + nats.standard_error,
                "on_plateau": run.on_plateau,
                "budget": run.budget,
                "note": f"{family}, {scientific(run.budget)} FLOPs, {short(size)} parameters: "
                f"{with_error(nats)} nats per token, run {run.record.id}{plateau}",
            }
        )
    return rows


def _axes(study: StudyFolder, points: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
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
        charts.logarithmic(
            "parameters", f"{counted} parameters N", charts.around_log(sizes, right=0.2), short
        ),
        charts.linear("nats", charts.LOSS, charts.around(losses + [point.nats for point in drawn])),
    )


def _parabolas(
    curves: Sequence[IsoflopCurve], points: Rows, ink: str, x: Any, y: Any
) -> list[Chart]:
    """The fitted parabolas, dashed where refused; plain joins where nothing was fitted."""
    accepted = [row for curve in curves if curve.accepted for row in _line(curve)]
    refused = [row for curve in curves if not curve.accepted for row in _line(curve)]
    joins = [] if curves else points
    styles: list[tuple[Rows, dict[str, Any]]] = [
        (accepted, {"strokeWidth": 1.5}),
        (refused, {"strokeWidth": 1.5, "strokeDash": [3, 3], "opacity": 0.7}),
        (joins, {"strokeWidth": 1, "opacity": 0.6}),
    ]
    return [
        alt.Chart(charts.data(rows))
        .mark_line(color=ink, aria=False, **style)
        .encode(x=alt.X(**x), y=alt.Y(**y), detail="budget:Q")
        for rows, style in styles
        if rows
    ]


def _line(curve: IsoflopCurve) -> Rows:
    """The drawn points of a parabola."""
    budget = curve.budget or curve.flops
    return [{**vars(point), "budget": budget} for point in curve.line]


def _runs_with_errors(points: Rows, place: int, x: Any, y: Any) -> list[Chart]:
    """A mark and an error bar per run; the mark is hollow where the fits left the run out."""
    base = alt.Chart(charts.data(points)).encode(x=alt.X(**x))
    drawn = [
        base.mark_rule(color=color(place), aria=False).encode(
            y=alt.Y(**{**y, "shorthand": "low:Q"}), y2="high:Q"
        )
    ]
    for hollow in (False, True):
        rows = [row for row in points if row["on_plateau"] is hollow]
        mark = alt.Chart(charts.data(rows)).mark_point(
            color=color(place), filled=not hollow, opacity=1, size=38, shape=shape(place)
        )
        drawn += [mark.encode(x=alt.X(**x), y=alt.Y(**y), description="note:N")] if rows else []
    return drawn


def _budget_names(points: Rows, x: Any, y: Any) -> Chart:
    """The budget of each curve at its right end; names that would touch are moved apart."""
    ends = {row["budget"]: row for row in sorted(points, key=lambda row: row["parameters"])}
    rows = sorted(ends.values(), key=lambda row: row["nats"])
    low, high = y["scale"].domain
    heights = charts.apart([row["nats"] for row in rows], _LINE_HEIGHT * (high - low))
    named = [
        {"parameters": row["parameters"], "nats": height, "label": scientific(row["budget"])}
        for row, height in zip(rows, heights, strict=True)
    ]
    text = alt.Chart(charts.data(named)).mark_text(
        align="left", dx=8, color=MUTED, fontSize=11, aria=False
    )
    return text.encode(x=alt.X(**x), y=alt.Y(**y), text="label:N")


def _minima(family: str, found: Sequence[Minimum], x: Any, y: Any) -> list[Chart]:
    """The trusted minima, joined from budget to budget."""
    rows = [
        {
            "parameters": minimum.N_opt,
            "nats": minimum.L_opt,
            "note": f"{family}, minimum at {scientific(minimum.compute)} FLOPs: N* "
            f"{spread(minimum.N_opt, (minimum.N_low, minimum.N_high))} parameters, "
            f"L* {minimum.L_opt:.4f} nats per token",
        }
        for minimum in found
    ]
    base = alt.Chart(charts.data(rows)).encode(x=alt.X(**x), y=alt.Y(**y))
    ring = base.mark_point(stroke=INK, fill=PAPER, size=70, shape="diamond", opacity=1)
    path = base.mark_line(color=MUTED, strokeDash=[2, 3], strokeWidth=1, aria=False)
    return [path, ring.encode(description="note:N")] if rows else []
