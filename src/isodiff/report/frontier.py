"""The frontier of speed and quality as a figure: perplexity and entropy against speed, by budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from isodiff.report import render
from isodiff.report.axes import around, around_log, linear, logarithmic
from isodiff.report.format import ratio, scientific, with_error
from isodiff.report.panels import (
    Chart,
    Rows,
    data,
    family_channels,
    heading,
    layout,
    panels,
    specification,
)
from isodiff.report.schema import Estimated
from isodiff.report.theme import INK, MUTED
from isodiff.scaling.pareto_result import FrontierResult, SamplerPoint
from isodiff.units import short

NAMES = {"generative_perplexity": "generative perplexity", "bits_per_byte": "judge's bits per byte"}


def chart(found: FrontierResult, families: Sequence[str], narrow: bool) -> Chart | None:
    """A column per budget: perplexity in batches, perplexity alone, entropy."""
    if not found.points:
        return None
    budgets = sorted({point.budget for point in found.points})
    shown = [f for f in families if any(point.family == f for point in found.points)]
    across, width = layout(len(budgets), narrow, all_named=True)
    rows = [row(point, found.measure) for point in found.points]
    speeds = [row[speed] for row in rows for speed in ("speed", "alone")]
    reach = around_log(speeds)
    batches = logarithmic("speed", "tokens per second, fastest batch", reach, short)
    alone = logarithmic("alone", "tokens per second, one text alone", reach, short)
    losses = [row[end] for row in rows for end in ("low", "high")]
    held_out = held_out_value(found)
    losses += [held_out] if held_out else []
    quality = logarithmic("loss", NAMES[found.measure], around_log(losses, 0.08, 0.08), ratio)
    entropies = [row["entropy"] for row in rows]
    entropies += [found.held_out.entropy] if found.held_out else []
    entropy = linear("entropy", "entropy, nats per token", around(entropies, 0.1))
    charts = []
    for budget in budgets:
        own = [row for row in rows if row["budget"] == budget]
        title = heading(f"{scientific(budget)} training FLOPs")
        upper, middle = (
            alt.layer(
                stairs(found, x, quality),
                *level(held_out, quality),
                *marks(own, families, shown, x, quality, narrow, bars=True),
            ).properties(width=width, height=210)
            for x in (batches, alone)
        )
        lower = alt.layer(
            *level(found.held_out.entropy if found.held_out else None, entropy),
            *marks(own, families, shown, batches, entropy, narrow, bars=False),
        ).properties(width=width, height=110)
        charts.append(alt.vconcat(upper.properties(title=title), middle, lower, spacing=14))
    return panels(charts, across)


def row(point: SamplerPoint, measure: str) -> dict[str, Any]:
    """A point as drawn; its bar is one standard error of the loss."""
    value, error = getattr(point, measure), getattr(point, f"{measure}_se")
    steps = "" if point.steps is None else f", {point.steps} steps"
    state = "texts degenerate" if point.degenerate else ""
    note = (
        f"{point.family}, {point.sampler}{steps}: {short(point.tokens_per_second)} tokens/s in batches, "
        f"{short(point.length / point.latency_seconds)} alone, "
        f"{NAMES[measure]} {with_error(Estimated(value=value, standard_error=error))}, entropy "
        f"{point.entropy:.2f}{', ' + state if state else ''}, run {point.run}"
    )
    return {
        "family": point.family,
        "line": f"{point.run} {point.sampler}",
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


def marks(
    rows: Rows,
    families: Sequence[str],
    shown: Sequence[str],
    x: dict[str, Any],
    y: dict[str, Any],
    narrow: bool,
    *,
    bars: bool,
) -> list[Chart]:
    """A line through the steps of each sampler; hollow marks where texts are degenerate."""
    ink, lines, forms = family_channels(families, shown, narrow, named=bars)
    place = {"x": alt.X(**x), "y": alt.Y(**y), "color": ink}
    good = [row for row in rows if not row["degenerate"]]
    poor = [row for row in rows if row["degenerate"]]
    base = alt.Chart(data(rows))
    layers: list[Chart] = [
        base.mark_line(strokeWidth=1.25, opacity=0.6, aria=False).encode(
            **place, strokeDash=lines, detail="line:N", order=f"{x['shorthand']}"
        )
    ]
    if bars:
        ends = {"y": alt.Y(**{**y, "shorthand": "low:Q"}), "y2": "high:Q"}
        layers.append(base.mark_rule(aria=False).encode(x=place["x"], color=ink, **ends))
    layers.append(
        alt.Chart(data(good))
        .mark_point(filled=True, opacity=1, size=55)
        .encode(**place, shape=forms, description="note:N")
    )
    if poor:
        hollow = alt.Chart(data(poor)).mark_point(filled=False, opacity=1, size=55, strokeWidth=1.5)
        layers.append(hollow.encode(**place, shape=forms, description="note:N"))
    return layers


def stairs(found: FrontierResult, x: dict[str, Any], y: dict[str, Any]) -> Chart:
    """What can be had at each speed from all budgets together."""
    field = x["shorthand"].split(":")[0]
    off = "dominated" if field == "speed" else "dominated_alone"
    best = [p for p in found.points if not getattr(p, off) and not p.degenerate]
    rows = sorted((row(point, found.measure) for point in best), key=lambda row: row[field])
    line = alt.Chart(data(rows)).mark_line(
        interpolate="step-before", color=INK, strokeWidth=5, opacity=0.13, aria=False
    )
    return line.encode(x=alt.X(**x), y=alt.Y(**y))


def level(value: float | None, y: dict[str, Any]) -> list[Chart]:
    """A line at the value of held-out text."""
    if value is None:
        return []
    field = y["shorthand"].split(":")[0]
    rule = alt.Chart(data([{field: value}])).mark_rule(color=MUTED, strokeDash=[3, 3], aria=False)
    return [rule.encode(y=alt.Y(**y))]


def held_out_value(found: FrontierResult) -> float | None:
    """The measure of held-out text."""
    return getattr(found.held_out, found.measure) if found.held_out else None


def caption(found: FrontierResult) -> str:
    """Marks of the figure."""
    hollow = sum(point.degenerate for point in found.points)
    poor = (
        f" Hollow marks: degenerate texts ({hollow} points), which win nothing." if hollow else ""
    )
    return (
        "Every sampler of each family's best run at each budget. Above, at the fastest batch, and in "
        f"the middle, one text alone: {NAMES[found.measure]} under the judge, lower is better, with one "
        "standard error; the broad line is the frontier of all budgets, dashes are held-out text itself. "
        "At the bottom: unigram entropy of the same texts; below the dashes text is more repetitive than "
        "held-out text, and a low perplexity proves little. Lines join the steps of one sampler."
        f"{poor}"
    )


def write_figure(found: FrontierResult, folder: Path) -> list[Path]:
    """The figure as SVG and PNG."""
    families = list(dict.fromkeys(point.family for point in found.points))
    drawn = chart(found, families, False)
    return (
        [] if drawn is None else render.write(render.svg(specification(drawn)), folder / "frontier")
    )
