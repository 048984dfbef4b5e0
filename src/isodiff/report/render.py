"""Charts to SVG and PNG without a browser or a network (vl-convert), always the same bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import vl_convert

from isodiff.files import write_bytes, write_text

NAMESPACES = re.compile(r' xmlns(?::xlink)?="[^"]*"')
SCALE = 2.0
"""Pixels of a PNG per unit of its drawing."""


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
    bare = NAMESPACES.sub("", drawn, count=2)
    return re.sub(r'(id="|url\(#)clip', rf"\g<1>{key}-clip", bare)


def write(drawn: str, stem: Path) -> list[Path]:
    """Write `stem`.svg and `stem`.png; returns both."""
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    write_text(paths[0], drawn + "\n")
    write_bytes(paths[1], vl_convert.svg_to_png(drawn, scale=SCALE))
    return paths
