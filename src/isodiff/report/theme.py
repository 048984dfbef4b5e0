"""How pages look: their frame and style sheets; colors, shapes and dashes, one of each per family in order.

Text enters a page through Jinja's autoescape only. A content security policy forbids everything that the page
does not bring itself; its one script is named there by hash.

A figure is drawn once, in the light colors, as a plain SVG. Inside the page a rule per color
(`_style_rules`) gives each its dark counterpart, so the same drawing serves both themes without a
script. Colors keep a contrast of 3:1 or more to their background; the first five are Okabe and
Ito's (jfly.uni-koeln.de/color, 2008), two of them darkened for that.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

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
_SHAPES = (
    *("circle", "square", "triangle-up", "diamond"),
    *("cross", "triangle-down", "triangle-right", "triangle-left"),
)
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [4, 2], [2, 4], [8, 2, 2, 2, 2, 2])
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"


def color(place: int) -> str:
    """Light color of the family at this place; past the eighth they repeat."""
    return PALETTE[place % len(PALETTE)][0]


def shape(place: int) -> str:
    """Point shape of the family at this place; shifted on each repeat of the colors."""
    return _SHAPES[(place + place // len(PALETTE)) % len(_SHAPES)]


def dash(place: int) -> list[int]:
    """Line dash of the family at this place; shifted on each repeat of the colors."""
    return _DASHES[(place + place // len(PALETTE)) % len(_DASHES)]


def _style_rules() -> str:
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


def _unbroken(text: str) -> str:
    """A number with its mark, and an error with its: they stay in one line."""
    return re.sub("(?<=[±=≤]) ", "\N{NO-BREAK SPACE}", text)


def document(name: str, *styles: str, **values: Any) -> str:
    """NAME.html with NAME.js, and the sheets `styles` below the colors of the theme."""

    def read(file: str) -> str:
        return files("isodiff.report").joinpath(file).read_text(encoding="utf-8")

    script = read(f"{name}.js")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["unbroken"] = _unbroken
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.from_string(read(f"{name}.html")).render(
        style=Markup(_style_rules() + "".join(read(f"{sheet}.css") for sheet in styles)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
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
        "font": _FONT,
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
