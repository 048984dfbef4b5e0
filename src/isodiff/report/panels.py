"""What all figures share: two widths, panels side by side, data inside the specification."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import altair as alt

from isodiff.report.theme import INK, color, config, dash, shape

Chart = Any
"""An Altair chart, layered or not: they share no public type."""
Rows = list[dict[str, Any]]
WIDE, NARROW = 1100, 350
"""Widths of a figure: for a page and for a telephone."""
NAMED_AXIS, AXIS, SPACING = 62, 36, 28
"""What an axis with a title takes, what one without, and the space between panels."""
LOSS = "loss, nats per token"


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
    other = NAMED_AXIS if all_named else AXIS
    free = (NARROW if narrow else WIDE) - NAMED_AXIS - (across - 1) * (other + SPACING)
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
