"""Figures of fits: the laws L*(C) and N*(C) with their intervals, compute multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from isodiff.report.axes import around_log, logarithmic
from isodiff.report.folder import StudyFolder
from isodiff.report.format import interval, ratio, scientific, size_interval
from isodiff.report.panels import (
    NARROW,
    Chart,
    Rows,
    data,
    family_channels,
    heading,
    layout,
    panels,
)
from isodiff.report.theme import MUTED
from isodiff.scaling.laws.isoflop import REFERENCE
from isodiff.scaling.laws.isoflop_result import BandPoint, IsoflopFamily, Minimum
from isodiff.units import short


def laws(study: StudyFolder, narrow: bool) -> Chart | None:
    """L*(C) and N*(C): power laws through the minima."""
    shown = [family for family in study.families if study.fit(family).bands.L]
    if not shown:
        return None
    counted = study.parameters_convention.replace("_", "-")
    loss = law(study, shown, "L", "L*, nats per token", "Loss at the best size", narrow)
    size = law(study, shown, "N", f"N*, {counted} parameters", "Best size", narrow)
    return panels([loss, size], 1 if narrow else 2)


def law(
    study: StudyFolder, shown: Sequence[str], symbol: str, axis: str, title: str, narrow: bool
) -> Chart:
    """One law against training compute, all families in one panel."""
    bands: Rows = [
        {"family": family, **vars(point)}
        for family in shown
        for point in band(study.fit(family), symbol)
    ]
    points: Rows = [
        law_point(family, minimum, symbol)
        for family in shown
        for minimum in study.fit(family).budgets
    ]
    ends = [row["value"] for row in bands]
    ends += [row[end] for row in points for end in ("value", "low", "high") if row[end]]
    compute = around_log([row["flops"] for row in bands + points], 0.01, 0.01)
    x = alt.X(**logarithmic("flops", "training compute C, FLOPs", compute, scientific))
    vertical = logarithmic("value", axis, around_log(ends, 0.15, 0.15), short)
    y, low = alt.Y(**vertical), alt.Y(**{**vertical, "shorthand": "low:Q"})
    ink, lines, forms = family_channels(study.families, shown, narrow)
    spread, minima = alt.Chart(data([r for r in bands if r["low"]])), alt.Chart(data(points))
    return alt.layer(
        spread.mark_area(opacity=0.13, clip=True, aria=False).encode(
            x=x, y=low, y2="high:Q", color=ink
        ),
        alt.Chart(data(bands))
        .mark_line(strokeWidth=1.75, aria=False)
        .encode(x=x, y=y, color=ink, strokeDash=lines),
        alt.Chart(data([row for row in points if row["low"]]))
        .mark_rule(aria=False)
        .encode(x=x, y=low, y2="high:Q", color=ink),
        minima.mark_point(filled=True, opacity=1, size=50).encode(
            x=x, y=y, color=ink, shape=forms, description="note:N"
        ),
    ).properties(width=layout(2, narrow, all_named=True)[1], height=290, title=heading(title))


def band(fit: IsoflopFamily, symbol: str) -> tuple[BandPoint, ...]:
    """L*(C) or N*(C)."""
    return fit.bands.L if symbol == "L" else fit.bands.N


def law_point(family: str, minimum: Minimum, symbol: str) -> dict[str, Any]:
    """A minimum as a point of L*(C) or N*(C)."""
    if symbol == "L":
        ends = (minimum.L_low, minimum.L_opt, minimum.L_high)
        shown = f"L* {minimum.L_opt:.4f} nats per token"
    else:
        ends = (minimum.N_low, minimum.N_opt, minimum.N_high)
        shown = f"N* {size_interval(minimum)} parameters"
    low, value, high = ends
    note = f"{family} at {scientific(minimum.compute)} FLOPs: {shown}"
    where = {"family": family, "flops": minimum.flops, "note": note}
    return {**where, "value": value, "low": low, "high": high}


def multipliers(study: StudyFolder, narrow: bool) -> Chart | None:
    """Training compute for equal loss, as a multiple of the reference family's."""
    rows: Rows = []
    for family in study.families:
        found = study.fit(family).multiplier_vs_autoregressive
        if found is not None and found.value and family != REFERENCE:
            low, high = found.low or found.value, found.high or found.value
            note = f"{family}: {interval(found)} times the compute of {REFERENCE}"
            where = {"family": family, "value": found.value, "low": low, "high": high}
            rows.append({**where, "note": note, "label": interval(found)})
    if not rows:
        return None
    shown = [row["family"] for row in rows]
    ends = [row[end] for row in rows for end in ("low", "high")]
    title = f"compute for equal loss, relative to {REFERENCE}"
    x = logarithmic("value", title, around_log([*ends, 1.0], 0.08, 0.7 if narrow else 0.3), ratio)
    y = alt.Y("family:N", sort=shown, title=None, axis=alt.Axis(labelLimit=160))
    ink, _, forms = family_channels(study.families, shown, narrow, named=False)
    base = alt.Chart(data(rows)).encode(y=y)
    one = alt.Chart(data([{"value": 1.0}]))
    return alt.layer(
        one.mark_rule(color=MUTED, strokeDash=[3, 3], aria=False).encode(x=alt.X(**x)),
        base.mark_rule(strokeWidth=2, aria=False).encode(
            x=alt.X(**{**x, "shorthand": "low:Q"}), x2="high:Q", color=ink
        ),
        base.mark_point(filled=True, opacity=1, size=70).encode(
            x=alt.X(**x), color=ink, shape=forms, description="note:N"
        ),
        base.mark_text(dx=10, align="left", color=MUTED, fontSize=11, aria=False).encode(
            x=alt.X(**{**x, "shorthand": "high:Q"}), text="label:N"
        ),
    ).properties(width=(NARROW if narrow else 720) - 110, height=46 * len(rows) + 14)
