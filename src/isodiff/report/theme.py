"""Colors, shapes and dashes of the figures, one of each per family by its order in the study.

A figure is drawn once, in the light colors, as a plain SVG. Inside the page a rule per color
(`style_rules`) gives each its dark counterpart, so the same drawing serves both themes without a
script. Colors keep a contrast of 3:1 or more to their background; the first five are Okabe and
Ito's (jfly.uni-koeln.de/color, 2008), two of them darkened for that.
"""

from __future__ import annotations

from typing import Any

INK, MUTED, GRID, PAPER = "#1c1f24", "#5c636e", "#e4e6e9", "#ffffff"
INKS = {
    INK: ("ink", "#e8e6e1"),
    MUTED: ("muted", "#a2a9b3"),
    GRID: ("grid", "#32363c"),
    PAPER: ("paper", "#17191c"),
}
PALETTE = (
    ("#0072b2", "#57b1e8"),
    ("#d55e00", "#f5924e"),
    ("#00896a", "#3fc79c"),
    ("#b5508f", "#e59bc8"),
    ("#a87500", "#e3b64a"),
    ("#5a52c4", "#a9a3f5"),
    ("#7a4b2a", "#c79d7d"),
    ("#5b6470", "#b4bcc7"),
)
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [4, 2], [2, 4], [8, 2, 2, 2, 2, 2])
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"


def color(place: int) -> str:
    """Light color of the family at this place; past the eighth they repeat."""
    return PALETTE[place % len(PALETTE)][0]


def shape(place: int) -> str:
    """Point shape of the family at this place; shifted on each repeat of the colors."""
    return SHAPES[(place + place // len(PALETTE)) % len(SHAPES)]


def dash(place: int) -> list[int]:
    """Line dash of the family at this place; shifted on each repeat of the colors."""
    return DASHES[(place + place // len(PALETTE)) % len(DASHES)]


def style_rules() -> str:
    """CSS: a variable per color with its dark value, and the rules that put them on drawings."""
    names = [(name, light, dark) for light, (name, dark) in INKS.items()]
    names += [(f"family-{i}", light, dark) for i, (light, dark) in enumerate(PALETTE)]
    light = "".join(f"--{name}:{value};" for name, value, _ in names)
    dark = "".join(f"--{name}:{value};" for name, _, value in names)
    rules = "\n".join(
        f'.drawing [{part}="{value}"]{{{part}:var(--{name})}}'
        for name, value, _ in names
        for part in ("fill", "stroke")
    )
    return (
        f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"@media print{{:root{{{light}}}}}\n{rules}\n"
    )


def config() -> dict[str, Any]:
    """Vega-Lite configuration: quiet axes, one font, no frame."""
    axis = {
        "domainColor": MUTED,
        "tickColor": MUTED,
        "gridColor": GRID,
        "labelColor": MUTED,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "domainWidth": 0.75,
        "tickWidth": 0.75,
        "gridWidth": 0.75,
    }
    return {
        "background": PAPER,
        "font": FONT,
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False, "tickSize": 4},
        "axisY": {"domain": False, "tickSize": 0, "labelPadding": 6},
        "legend": {
            "labelColor": INK,
            "labelFontSize": 12,
            "labelLimit": 320,
            "symbolStrokeWidth": 0,
            "symbolSize": 70,
            "symbolOpacity": 1,
            "columnPadding": 18,
        },
        "title": {"color": INK, "fontSize": 13, "fontWeight": "bold", "anchor": "start"},
        "concat": {"spacing": 28},
    }
