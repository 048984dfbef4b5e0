"""Compute multipliers: what each family pays for the loss of the reference family."""

from __future__ import annotations

import altair as alt

from isodiff.report import charts
from isodiff.report.blocks import Block, Cell, Column, Figure, Section, Table, missing
from isodiff.report.charts import Chart, Rows
from isodiff.report.format import ratio, scientific, with_interval
from isodiff.report.sections.laws import why_no_laws
from isodiff.report.study_folder import StudyFolder
from isodiff.report.theme import MUTED
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.laws.law import REFERENCE

_CAPTION = (
    f"How many times the training compute of {REFERENCE} a family needs for the same loss, at the largest "
    f"budget where its minimum is trusted: the {REFERENCE} law read at the loss of the family's law. Left of "
    f"1 is cheaper. Intervals: {LEVEL:.0%}, bootstrap."
)
_BY_BUDGET = (
    f"The same at every budget; below it, how many times below its smallest budget the {REFERENCE} law is "
    "read. The farther, the more the form of that law decides. As a check, that law read at the lowest loss "
    "of the family's parabola alone, with no other budget in it."
)


def multipliers_section(study: StudyFolder) -> Section:
    """A bar per family, or why no multiplier is known."""
    title, anchor = "Compute multipliers", "multipliers"
    wide, narrow = (_chart(study, narrow) for narrow in (False, True))
    if wide is None:
        return missing(title, anchor, _why_none(study))
    blocks: list[Block] = [Figure(anchor, wide, narrow, _CAPTION)]
    if table := _by_budget(study):
        blocks.append(table)
    return Section(title, blocks, anchor)


def _by_budget(study: StudyFolder) -> Table | None:
    """The multiplier of every family at each of its budgets."""
    found = {family: study.fit(family).multipliers for family in study.families}
    shown = [family for family, rows in found.items() if len(rows) > 1]
    budgets = sorted({row.budget for family in shown for row in found[family]})
    if not shown:
        return None

    def cell(family: str, budget: float) -> Cell:
        row = next((row for row in found[family] if row.budget == budget), None)
        far = row and row.extrapolation and row.extrapolation > 1
        below = f"{ratio(row.extrapolation)} below" if row and row.extrapolation and far else ""
        check = row and row.by_parabola and f"by its parabola {with_interval(row.by_parabola)}"
        return Cell(with_interval(row), note="; ".join(filter(None, (below, check))))

    columns = (Column("FLOPs", numeric=False), *map(Column, shown))
    rows = tuple(
        (Cell(scientific(budget)), *(cell(family, budget) for family in shown))
        for budget in budgets
    )
    return Table(columns, rows, title="Budget by budget", caption=_BY_BUDGET)


def _why_none(study: StudyFolder) -> str:
    if study.fits is None or not study.fits.families:
        return why_no_laws(study)
    found = [study.fit(family).multiplier_vs_autoregressive for family in study.families]
    reasons = sorted({one.reason for one in found if one is not None and one.reason})
    return f"No multiplier is known: {'; '.join(reasons) or 'the fits hold none'}."


def _chart(study: StudyFolder, narrow: bool) -> Chart | None:
    """Training compute for equal loss, as a multiple of the reference family's."""
    rows: Rows = []
    for family in study.families:
        found = study.fit(family).multiplier_vs_autoregressive
        if found is not None and found.value and family != REFERENCE:
            low, high = found.low or found.value, found.high or found.value
            note = f"{family}: {with_interval(found)} times the compute of {REFERENCE}"
            where = {"family": family, "value": found.value, "low": low, "high": high}
            rows.append({**where, "note": note, "label": with_interval(found)})
    if not rows:
        return None
    shown = [row["family"] for row in rows]
    ends = [row[end] for row in rows for end in ("low", "high")]
    title = f"compute for equal loss, relative to {REFERENCE}"
    x = charts.logarithmic(
        "value", title, charts.around_log([*ends, 1.0], 0.08, 0.7 if narrow else 0.3), ratio
    )
    y = alt.Y("family:N", sort=shown, title=None, axis=alt.Axis(labelLimit=160))
    ink, _, forms = charts.family_channels(study.families, shown, narrow, named=False)
    base = alt.Chart(charts.data(rows)).encode(y=y)
    one = alt.Chart(charts.data([{"value": 1.0}]))
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
    ).properties(width=(charts.NARROW if narrow else 720) - 110, height=46 * len(rows) + 14)
