"""The IsoFLOP laws: a figure of L*(C), exponents, what the smaller budgets predict, multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

import altair as alt

from isodiff.report import charts
from isodiff.report.blocks import Block, Cell, Column, Table, Text
from isodiff.report.charts import Chart, Rows
from isodiff.report.format import MARKS, ratio, scientific, spread, with_error, with_interval
from isodiff.report.lead import BestSize
from isodiff.report.ranking import FamilyRanking
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.laws.isoflop_result import BandPoint, IsoflopFamily
from isodiff.scaling.laws.law import REFERENCE
from isodiff.units import short

_CAPTION = (
    "Predicted: the law of all budgets but the largest, read at the largest. Bias: what the form "
    "of the parabola does to N* on these sizes, by the surface that fits the runs; it is in no "
    "interval."
)
_MULTIPLIERS = (
    f"How many times the training compute of {REFERENCE} a family needs for the same loss: the {REFERENCE} "
    "law read at the loss of the family's law at each budget; below it, how many times below its smallest "
    "budget that law is read: the farther, the more its form decides. Alone: that law at the "
    "lowest loss of the budget's parabola, with no other budget in it, as a check."
)


def law_tables(study: StudyFolder) -> list[Block]:
    """The laws with their intervals, how well the smaller budgets predict the largest, multipliers."""
    tables = [table for table in (_table(study), _multipliers(study)) if table]
    return [*tables] or [Text([_why_none(study)], "missing")]


def _why_none(study: StudyFolder) -> str:
    """Why there are no laws."""
    if study.fits is None:
        return "The folder holds no fits.json; isodiff fit with --out writes one."
    if not study.fits.families:
        return "; ".join(study.fits.warnings) or "fits.json holds no family."
    return "A power law needs trusted minima at two budgets or more; no family has them."


def loss_chart(study: StudyFolder, families: Sequence[FamilyRanking], narrow: bool) -> Chart:
    """Loss against compute: the best size of each family at each budget, and L*(C) with its band.

    In bits per byte; compute in the convention of the laws. Where a family has no law its points are joined.
    """
    laws: Rows = []
    points: Rows = []
    for one in families:
        fit = study.fit(one.family)
        spent = {curve.budget: curve.flops for curve in fit.curves}
        own = [_point(one.family, best, spent.get(best.budget, best.budget)) for best in one.best]
        bits = [best.bits / best.nats_per_token.value for best in one.best]
        laws += [_in_bits(one.family, band, mean(bits)) for band in fit.bands.L if bits] or [
            {**row, "low": None, "high": None} for row in own
        ]
        points += own
    compute = charts.around_log([row["flops"] for row in laws], 0.01, 0.01)
    losses = [row["value"] for row in laws] + [
        row[end] for row in points for end in ("low", "high")
    ]
    x = alt.X(**charts.logarithmic("flops", "training FLOPs", compute, scientific))
    vertical = charts.logarithmic("value", "loss, bits per byte", charts.around_log(losses), short)
    y, low = alt.Y(**vertical), alt.Y(**{**vertical, "shorthand": "low:Q"})
    shown = [one.family for one in families if one.best]
    ink, lines, forms = charts.family_channels(study.families, shown, narrow)
    every, found = (alt.Chart(charts.data(rows)).encode(x=x, color=ink) for rows in (laws, points))
    bands = alt.Chart(charts.data([row for row in laws if row["low"]])).encode(x=x, color=ink)
    return alt.layer(
        bands.mark_area(opacity=0.13, clip=True, aria=False).encode(y=low, y2="high:Q"),
        every.mark_line(strokeWidth=1.75, aria=False).encode(y=y, strokeDash=lines),
        found.mark_rule(aria=False).encode(y=low, y2="high:Q"),
        found.mark_point(filled=True, opacity=1, size=50).encode(
            y=y, shape=forms, description="note:N"
        ),
    ).properties(width=(charts.NARROW if narrow else charts.WIDE) - 70, height=300)


def _point(family: str, best: BestSize, flops: float) -> dict[str, Any]:
    error, where = best.bits_per_byte.standard_error, f"{scientific(best.budget)} FLOPs"
    said = f"{MARKS[best.kind]} {with_error(best.bits_per_byte)} bits per byte, run {best.runs[0]}"
    at = {"family": family, "flops": flops, "note": f"{family} at {where}: {said}"}
    return {**at, "value": best.bits, "low": best.bits - error, "high": best.bits + error}


def _in_bits(family: str, band: BandPoint, bits: float) -> dict[str, Any]:
    ends = {name: end and bits * end for name, end in (("low", band.low), ("high", band.high))}
    return {"family": family, "flops": band.flops, "value": bits * band.value, **ends}


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


def _multipliers(study: StudyFolder) -> Table | None:
    """The multiplier of every family at each of its budgets; None where no family has two."""
    found = {family: study.fit(family).multipliers for family in study.families}
    shown = [family for family, rows in found.items() if len(rows) > 1]
    budgets = sorted({row.budget for family in shown for row in found[family]})
    if not shown:
        return None

    def cell(family: str, budget: float) -> Cell:
        row = next((row for row in found[family] if row.budget == budget), None)
        below = (row and row.extrapolation) or 0.0
        check = row and row.by_parabola and f"alone {with_interval(row.by_parabola)}"
        notes = (f"{ratio(below)} below" if below > 1 else "", check)
        return Cell(with_interval(row), note="; ".join(filter(None, notes)))

    columns = (
        Column("family", numeric=False),
        *(Column(f"{scientific(budget)} FLOPs") for budget in budgets),
    )
    rows = tuple((Cell(family), *(cell(family, budget) for budget in budgets)) for family in shown)
    return Table(columns, rows, title="Compute multipliers", caption=_MULTIPLIERS)
