"""The frontier of speed and quality as a figure: perplexity and entropy against speed, by budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from isodiff.record import Mean
from isodiff.report import charts
from isodiff.report.charts import Channel, Chart, Rows
from isodiff.report.format import ratio, scientific, with_error
from isodiff.report.theme import INK, MUTED
from isodiff.scaling.pareto_result import FrontierResult
from isodiff.scaling.sampler_points import SamplerPoint
from isodiff.units import short

_NAMES, _NAME_HEIGHT = 54, 10.5  # room for names of samplers, and for each of them
MEASURES = {
    "generative_perplexity": "generative perplexity",
    "bits_per_byte": "reference model's bits per byte",
}


def frontier_chart(found: FrontierResult, families: Sequence[str], narrow: bool) -> Chart:
    """A column per budget: perplexity in batches, perplexity alone, entropy."""
    budgets = sorted({point.budget for point in found.points})
    shown = [f for f in families if any(point.family == f for point in found.points)]
    across, width = charts.layout(len(budgets), narrow, all_named=True)
    width -= _NAMES
    lines = max(len({_line(p) for p in found.points if p.budget == budget}) for budget in budgets)
    height = max(210, round(_NAME_HEIGHT * (lines + 1)))
    rows = [drawn_point(point, found.measure) for point in found.points]
    reach = charts.around_log([row[speed] for row in rows for speed in ("speed", "alone")])
    batches = charts.logarithmic("speed", "tokens per second, fastest batch", reach, short)
    alone = charts.logarithmic("alone", "tokens per second, one text alone", reach, short)
    held_out = [found.held_out] if found.held_out else []
    loss, level = ([getattr(one, name) for one in held_out] for name in (found.measure, "entropy"))
    losses = charts.around_log(
        [row[end] for row in rows for end in ("low", "high")] + loss, 0.08, 0.08
    )
    quality = charts.logarithmic("loss", MEASURES[found.measure], losses, ratio)
    entropies = [row["entropy"] for row in rows] + level
    entropy = charts.linear("entropy", "entropy, nats per token", charts.around(entropies, 0.1))
    named, unnamed = (
        charts.family_channels(families, shown, narrow, named=named) for named in (True, False)
    )
    columns = []
    for budget in budgets:
        own = [row for row in rows if row["budget"] == budget]
        title = charts.heading(f"{scientific(budget)} training FLOPs")
        upper, middle = (
            alt.layer(
                _stairs(found, x, quality),
                *_levels(loss, quality),
                *_marks(own, x, quality, named, bars=True),
                *_names(own, x, quality, unnamed[0], (reach[1], losses), height),
            ).properties(width=width, height=height)
            for x in (batches, alone)
        )
        lower = alt.layer(
            *_levels(level, entropy),
            *_marks(own, batches, entropy, unnamed, bars=False),
        ).properties(width=width, height=110)
        columns.append(alt.vconcat(upper.properties(title=title), middle, lower, spacing=14))
    return charts.panels(columns, across)


def drawn_point(point: SamplerPoint, measure: str) -> dict[str, Any]:
    """A point as drawn; its bar is one standard error of the loss."""
    value, error = getattr(point, measure), getattr(point, f"{measure}_se")
    steps = "" if point.steps is None else f", {point.steps} steps"
    state = "texts degenerate" if point.degenerate else ""
    state = state or ("speed unsteady" if point.unsteady or point.unsteady_alone else "")
    note = (
        f"{point.family}, {point.sampler}{steps}: {short(point.tokens_per_second)} tokens/s in batches, "
        f"{short(point.length / point.latency_seconds)} alone, "
        f"{MEASURES[measure]} {with_error(Mean(value, error, 0))}, entropy "
        f"{point.entropy:.2f}{', ' + state if state else ''}, run {point.run}"
    )
    return {
        "family": point.family,
        "line": _line(point),
        "sampler": point.sampler,
        "budget": point.budget,
        "speed": point.tokens_per_second,
        "alone": point.length / point.latency_seconds,
        "loss": value,
        "low": value - error,
        "high": value + error,
        "entropy": point.entropy,
        "degenerate": point.degenerate,
        "note": note,
    }


def _line(point: SamplerPoint) -> str:
    return f"{point.run} {point.sampler}"


def _names(
    rows: Rows,
    x: Channel,
    y: Channel,
    ink: alt.Color,
    ends: tuple[float, charts.Domain],
    height: int,
) -> list[Chart]:
    """To the right of the plot the sampler of each line, led to from its fastest point.

    `ends` are where the plot ends in x and y; names stand apart.
    """
    field, (right, (low, high)) = x["shorthand"].split(":")[0], ends
    fastest: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row[field]):
        fastest[row["line"]] = row
    last = sorted(fastest.values(), key=lambda row: row["loss"])
    gap = _NAME_HEIGHT / height * math.log(high / low)
    places = charts.apart([math.log(row["loss"]) for row in last], gap)
    over = max(0.0, places[-1] - math.log(high))
    named = [
        {**row, "right": right, "at": math.exp(place - over)}
        for row, place in zip(last, places, strict=True)
    ]
    base = alt.Chart(charts.data(named)).encode(color=ink)
    end, at = alt.X(**{**x, "shorthand": "right:Q"}), alt.Y(**{**y, "shorthand": "at:Q"})
    return [
        base.mark_rule(strokeWidth=0.5, opacity=0.6, aria=False).encode(
            x=alt.X(**x), x2="right:Q", y=alt.Y(**y), y2="at:Q"
        ),
        base.mark_text(align="left", baseline="middle", dx=4, fontSize=9.5, aria=False).encode(
            x=end, y=at, text="sampler:N"
        ),
    ]


def _marks(rows: Rows, x: Channel, y: Channel, looks: Any, *, bars: bool) -> list[Chart]:
    """A line through the steps of each sampler; hollow marks where texts are degenerate."""
    ink, lines, forms = looks
    place = {"x": alt.X(**x), "y": alt.Y(**y), "color": ink}
    good = [row for row in rows if not row["degenerate"]]
    poor = [row for row in rows if row["degenerate"]]
    base = alt.Chart(charts.data(rows))
    layers: list[Chart] = [
        base.mark_line(strokeWidth=1.25, opacity=0.6, aria=False).encode(
            **place, strokeDash=lines, detail="line:N", order=f"{x['shorthand']}"
        )
    ]
    if bars:
        ends = {"y": alt.Y(**{**y, "shorthand": "low:Q"}), "y2": "high:Q"}
        layers.append(base.mark_rule(aria=False).encode(x=place["x"], color=ink, **ends))
    layers.append(
        alt.Chart(charts.data(good))
        .mark_point(filled=True, opacity=1, size=55)
        .encode(**place, shape=forms, description="note:N")
    )
    if poor:
        hollow = alt.Chart(charts.data(poor)).mark_point(
            filled=False, opacity=1, size=55, strokeWidth=1.5
        )
        layers.append(hollow.encode(**place, shape=forms, description="note:N"))
    return layers


def _stairs(found: FrontierResult, x: Channel, y: Channel) -> Chart:
    """What can be had at each speed from all budgets together."""
    field = x["shorthand"].split(":")[0]
    best = [p for p in found.points if p.on_frontier(alone=field == "alone")]
    rows = sorted((drawn_point(point, found.measure) for point in best), key=lambda row: row[field])
    line = alt.Chart(charts.data(rows)).mark_line(
        interpolate="step-before", color=INK, strokeWidth=5, opacity=0.13, aria=False
    )
    return line.encode(x=alt.X(**x), y=alt.Y(**y))


def _levels(values: Sequence[float], y: Channel) -> list[Chart]:
    """A line at the value of held-out text, if it is known."""
    rows = [{y["shorthand"].split(":")[0]: value} for value in values]
    line = alt.Chart(charts.data(rows)).mark_rule(color=MUTED, strokeDash=[3, 3], aria=False)
    return [line.encode(y=alt.Y(**y))] if rows else []


def frontier_caption(found: FrontierResult) -> str:
    """Marks of the figure."""
    hollow = sum(point.degenerate for point in found.points)
    poor = (
        f" Hollow marks: degenerate texts ({hollow} points), which win nothing." if hollow else ""
    )
    return (
        "Every sampler of each family's best run at each budget. Above, at the fastest batch, and "
        f"in the middle, one text alone: {MEASURES[found.measure]} under the reference model, "
        "lower is better, with one standard error; the broad line is the frontier of all budgets, "
        "dashes are held-out text itself. At the bottom: unigram entropy of the same texts; below "
        "the dashes text is more repetitive than held-out text, and a low perplexity proves "
        f"little. Lines join the steps of one sampler, whose name stands to the right.{poor}"
    )


def write_frontier(found: FrontierResult, folder: Path) -> list[Path]:
    """The figure as SVG and PNG; nothing where no point was measured."""
    families = list(dict.fromkeys(point.family for point in found.points))
    if not families:
        return []
    return charts.write_drawing(
        charts.svg(charts.specification(frontier_chart(found, families, False))),
        folder / "frontier",
    )
