"""Scaling laws: L*(C) and N*(C) through the minima of the IsoFLOP curves, checked at the largest budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from isodiff.report import charts
from isodiff.report.blocks import Cell, Column, Figure, Section, Table, missing
from isodiff.report.charts import Chart, Rows
from isodiff.report.format import scientific, spread, with_interval
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.laws.isoflop_result import IsoflopFamily, Minimum
from isodiff.units import short

_CAPTION = (
    "Predicted: the law of all budgets but the largest, read at the largest. Bias: what the form "
    "of the parabola does to N* on these sizes, by the surface that fits the runs; it is in no "
    "interval."
)


def laws_section(study: StudyFolder) -> Section:
    """The laws with their intervals, and how well the smaller budgets predict the largest."""
    title, anchor = "Scaling laws", "laws"
    wide, narrow = (_chart(study, narrow) for narrow in (False, True))
    if wide is None:
        return missing(title, anchor, why_no_laws(study))
    figure, table = Figure(anchor, wide, narrow, _figure_caption(study)), _table(study)
    return Section(title, [figure, table] if table else [figure], anchor)


def why_no_laws(study: StudyFolder) -> str:
    """Why there are no laws."""
    if study.fits is None:
        return "The folder holds no fits.json; isodiff fit with --out writes one."
    if not study.fits.families:
        return "; ".join(study.fits.warnings) or "fits.json holds no family."
    return "A power law needs trusted minima at two budgets or more; no family has them."


def _figure_caption(study: StudyFolder) -> str:
    counted = study.fits.flops if study.fits else "budget"
    return (
        "Power laws through the minima of the IsoFLOP curves, drawn half a decade beyond the "
        f"budgets either way. Bands and bars are {LEVEL:.0%} bootstrap intervals, cut where they leave "
        f"a panel. FLOPs convention: {counted}."
    )


def _chart(study: StudyFolder, narrow: bool) -> Chart | None:
    """L*(C) and N*(C): power laws through the minima."""
    shown = [family for family in study.families if study.fit(family).bands.L]
    if not shown:
        return None
    counted = study.parameters_convention.replace("_", "-")
    loss = _panel(study, shown, "L", "L*, nats per token", "Loss at the best size", narrow)
    size = _panel(study, shown, "N", f"N*, {counted} parameters", "Best size", narrow)
    return charts.panels([loss, size], 1 if narrow else 2)


def _panel(
    study: StudyFolder, shown: Sequence[str], symbol: str, axis: str, title: str, narrow: bool
) -> Chart:
    """One law against training compute, all families in one panel."""
    bands: Rows = [
        {"family": family, **vars(point)}
        for family in shown
        for point in getattr(study.fit(family).bands, symbol)
    ]
    points: Rows = [
        _point(family, minimum, symbol) for family in shown for minimum in study.fit(family).budgets
    ]
    ends = [row["value"] for row in bands]
    ends += [row[end] for row in points for end in ("value", "low", "high") if row[end]]
    compute = charts.around_log([row["flops"] for row in bands + points], 0.01, 0.01)
    x = alt.X(**charts.logarithmic("flops", "training compute C, FLOPs", compute, scientific))
    vertical = charts.logarithmic("value", axis, charts.around_log(ends, 0.15, 0.15), short)
    y, low = alt.Y(**vertical), alt.Y(**{**vertical, "shorthand": "low:Q"})
    ink, lines, forms = charts.family_channels(study.families, shown, narrow)
    area, minima = (
        alt.Chart(charts.data([r for r in bands if r["low"]])),
        alt.Chart(charts.data(points)),
    )
    return alt.layer(
        area.mark_area(opacity=0.13, clip=True, aria=False).encode(
            x=x, y=low, y2="high:Q", color=ink
        ),
        alt.Chart(charts.data(bands))
        .mark_line(strokeWidth=1.75, aria=False)
        .encode(x=x, y=y, color=ink, strokeDash=lines),
        alt.Chart(charts.data([row for row in points if row["low"]]))
        .mark_rule(aria=False)
        .encode(x=x, y=low, y2="high:Q", color=ink),
        minima.mark_point(filled=True, opacity=1, size=50).encode(
            x=x, y=y, color=ink, shape=forms, description="note:N"
        ),
    ).properties(
        width=charts.layout(2, narrow, all_named=True)[1], height=290, title=charts.heading(title)
    )


def _point(family: str, minimum: Minimum, symbol: str) -> dict[str, Any]:
    if symbol == "L":
        value, ends = minimum.L_opt, (minimum.L_low, minimum.L_high)
        shown = f"L* {value:.4f} nats per token"
    else:
        value, ends = minimum.N_opt, (minimum.N_low, minimum.N_high)
        shown = f"N* {spread(value, ends)} parameters"
    note = f"{family} at {scientific(minimum.compute)} FLOPs: {shown}"
    where = {"family": family, "flops": minimum.flops, "note": note}
    return {**where, "value": value, "low": ends[0], "high": ends[1]}


def _table(study: StudyFolder) -> Table | None:
    """One row per family that has a law; None where no family has one."""
    fits = {family: study.fit(family) for family in study.families}
    shown = {name: fit for name, fit in fits.items() if fit.L_exponent and fit.L_exponent.value}
    if not shown:
        return None
    columns = (
        Column("family", numeric=False),
        Column("N*", "exponent of C"),
        Column("D*", "exponent of C"),
        Column("L*", "exponent of C"),
        Column("predicted", "L* at the largest budget, from the others"),
        Column("observed", "nats per token"),
        Column("bias", "of N* by the parabola's form"),
    )
    rows = tuple(_row(family, fit) for family, fit in shown.items())
    return Table(columns, rows, caption=_CAPTION)


def _row(family: str, fit: IsoflopFamily) -> tuple[Cell, ...]:
    exponents = (fit.N_exponent, fit.D_exponent, fit.L_exponent)
    cells = [Cell(with_interval(exponent, ".3f")) for exponent in exponents]
    return (Cell(family), *cells, *_held_out(fit), Cell(_bias(fit)))


def _held_out(fit: IsoflopFamily) -> tuple[Cell, Cell]:
    """L* as predicted, with the error, and as it was."""
    found = fit.validation.L
    if found is None:
        return Cell("–", note=fit.validation.reason or ""), Cell("–")
    note = f"{found.relative_error:+.1%}" + (", outside" if found.inside is False else "")
    predicted = Cell(spread(found.predicted, (found.low, found.high), ".3f"), note=note)
    return predicted, Cell(f"{found.observed:.3f}")


def _bias(fit: IsoflopFamily) -> str:
    """Least and largest over the budgets."""
    known = [row.parabola_bias_N for row in fit.budgets if row.parabola_bias_N is not None]
    if not known:
        return "–"
    low, high = f"{min(known):+.0%}", f"{max(known):+.0%}"
    return low if low == high else f"{low} to {high}"
