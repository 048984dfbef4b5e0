"""Charts: domains and ticks, panels side by side, families told apart; drawn as SVG and PNG.

Drawing (vl-convert) needs no browser and no network and always gives the same bytes. The data travel inside
the specification.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from scipy.optimize import isotonic_regression

from isodiff.files import storing, write_bytes, write_text
from isodiff.report.theme import INK, color, config, dash, shape

Chart = Any
"""An Altair chart, layered or not: they share no public type."""
Rows = list[dict[str, Any]]
Channel = dict[str, Any]
Domain = tuple[float, float]
WIDE, NARROW = 1100, 350
"""Widths of a figure: for a page and for a telephone."""
LOSS = "loss, nats per token"
_NAMED_AXIS, _AXIS, _SPACING = 62, 36, 28  # of an axis with a title, one without, between panels
_EQUAL = 1e-9  # as a share of the larger; values that near have no range
_NAMESPACES = re.compile(r' xmlns(?::xlink)?="[^"]*"')
_SCALE = 2.0  # pixels of a PNG per unit of its drawing


def around(values: Iterable[float], share: float = 0.06) -> Domain:
    """A linear domain with a margin of `share` of the range on either side."""
    values = list(values)
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    margin = share * (high - low) if high - low > _EQUAL * size else 0.05 * size or 1.0
    return low - margin, high + margin


def around_log(values: Iterable[float], left: float = 0.06, right: float = 0.06) -> Domain:
    """A logarithmic domain; margins as shares of the range in logarithms."""
    logs = [math.log(value) for value in values]
    span = max(logs) - min(logs)
    span = span if span > _EQUAL else 1.0
    return math.exp(min(logs) - left * span), math.exp(max(logs) + right * span)


def ticks(domain: Domain) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten, with 3 or 2 and 5 between them where few."""
    low, high = domain
    decades = math.log10(high / low)
    if decades < 0.8:
        return _even_ticks(low, high)
    steps = (1,) if decades > 4 else (1, 3) if decades > 2.2 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{step}e{power}") for power in powers for step in steps]
    return [tick for tick in every if low <= tick <= high]


def _even_ticks(low: float, high: float) -> list[float]:
    """At most seven evenly spaced round numbers in [low, high]."""
    unit = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(unit * factor for factor in (1, 2, 5, 10) if (high - low) / (unit * factor) <= 6)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def labels(places: list[float], form: Callable[[float], str]) -> list[str]:
    """Ticks in words; with more digits where `form` would call two of them the same."""
    said = [form(place) for place in places]
    return said if len(set(said)) == len(said) else [f"{place:.6g}" for place in places]


def apart(values: list[float], gap: float) -> list[float]:
    """The places nearest to ascending `values` that stand at least `gap` apart, in their order.

    Less i x gap they need only ascend, which is isotonic regression.
    """
    shifted = [value - i * gap for i, value in enumerate(values)]
    return [float(place + i * gap) for i, place in enumerate(isotonic_regression(shifted).x)]


def linear(field: str, title: str | None, domain: Domain) -> dict[str, Any]:
    """A quantitative channel."""
    return {
        "shorthand": f"{field}:Q",
        "scale": alt.Scale(domain=list(domain), nice=False, zero=False),
        "axis": alt.Axis(title=title, tickCount=5),
    }


def logarithmic(
    field: str, title: str | None, domain: Domain, form: Callable[[float], str]
) -> dict[str, Any]:
    """A logarithmic channel whose ticks are labeled by `form`."""
    places = ticks(domain)
    words = json.dumps(labels(places, form))
    return {
        "shorthand": f"{field}:Q",
        "scale": alt.Scale(type="log", domain=list(domain), nice=False),
        "axis": alt.Axis(
            title=title,
            values=places,
            labelExpr=f"{words}[indexof({json.dumps(places)}, datum.value)]",
            labelOverlap="greedy",
        ),
    }


def data(rows: Rows) -> alt.InlineData:
    """Rows that travel inside the specification; as text, which Altair need not walk through."""
    return alt.InlineData(values=json.dumps(rows), format=alt.DataFormat(type="json"))


def heading(text: str, ink: str = INK) -> alt.TitleParams:
    """The title of one panel."""
    return alt.TitleParams(text=text, color=ink)


def layout(
    num_panels: int, narrow: bool, *, most: int = 3, all_named: bool = False
) -> tuple[int, int]:
    """Panels in a row (at most `most`), and the width of one's plot.

    Only the first of a row has a title on its vertical axis, unless `all_named`.
    """
    across = 1 if narrow else max(2, min(num_panels, most))
    other = _NAMED_AXIS if all_named else _AXIS
    free = (NARROW if narrow else WIDE) - _NAMED_AXIS - (across - 1) * (other + _SPACING)
    return across, free // across


def panels(charts: Sequence[Chart], across: int) -> Chart:
    """Charts `across` in a row."""
    return alt.concat(*charts, columns=across)


def family_channels(
    families: Sequence[str], shown: Sequence[str], narrow: bool, named: bool = True
) -> tuple[alt.Color, alt.StrokeDash, alt.Shape]:
    """Color, dash and shape of each family shown; a legend of colors and shapes if `named`."""
    columns = 2 if narrow else 4
    legend = alt.Legend(title=None, orient="top", columns=columns) if named else None
    places = [families.index(family) for family in shown]

    def channel(pick: Callable[[int], Any], legend: alt.Legend | None) -> dict[str, Any]:
        scale = alt.Scale(domain=list(shown), range=[pick(place) for place in places])
        return {"shorthand": "family:N", "scale": scale, "legend": legend}

    return (
        alt.Color(**channel(color, legend)),
        alt.StrokeDash(**channel(dash, None)),
        alt.Shape(**channel(shape, legend)),
    )


def specification(chart: Chart) -> dict[str, Any]:
    """A chart as Vega-Lite, in the colors of `theme`."""
    return {**chart.to_dict(validate=False), "config": config()}


def svg(spec: dict[str, Any]) -> str:
    """A Vega-Lite specification as SVG. Its clip paths are numbered from 0."""
    drawn = vl_convert.vegalite_to_svg(spec)
    numbers: dict[str, int] = {}
    return re.sub(
        r'(id="|url\(#)clip(\d+)',
        lambda match: f"{match[1]}clip{numbers.setdefault(match[2], len(numbers))}",
        drawn,
    )


def inline(drawn: str, key: str) -> str:
    """An SVG as a page takes it in: no namespaces, clip paths that belong to `key` alone."""
    bare = _NAMESPACES.sub("", drawn, count=2)
    return re.sub(r'(id="|url\(#)clip', rf"\g<1>{key}-clip", bare)


def write_drawing(drawn: str, stem: Path) -> list[Path]:
    """Write `stem`.svg and `stem`.png; returns both."""
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    with storing():
        write_text(paths[0], drawn + "\n")
        write_bytes(paths[1], vl_convert.svg_to_png(drawn, scale=_SCALE))
    return paths
