"""Texts that each family wrote; where the corpus is `digits`, as the pictures that they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence

import altair as alt

from isodiff.report import charts
from isodiff.report.blocks import Block, Figure, Section, Text, missing
from isodiff.report.charts import Chart
from isodiff.report.study_folder import StudyFolder
from isodiff.study_record import SampledTexts

_DIGITS = "digits of scikit-learn"
"""The corpus, as its manifest names it."""
_SIDE, _ACROSS, _DOWN = 8, 10, 11
"""Pixels of a side; of a picture with its margins."""


def samples_section(study: StudyFolder) -> Section:
    """Families in the order of the study."""
    if not study.samples:
        why = "No text was drawn: the folder holds no samples.json, or an empty one."
        return missing("Samples", "samples", why)
    show = _pictures if study.study.corpus.source == (_DIGITS,) else _texts
    order = sorted(study.samples, key=lambda name: (study.place(name), name))
    return Section("Samples", [show(name, study.samples[name]) for name in order], "samples")


def _said(found: SampledTexts) -> str:
    if found.nfe is None or str(found.nfe) in found.sampler:
        return found.sampler
    return f"{found.sampler} · {found.nfe} network evaluations"


def _texts(family: str, found: SampledTexts) -> Block:
    return Text(found.texts, "verbatim", title=family, caption=_said(found), run=found.run)


def _pictures(family: str, found: SampledTexts) -> Block:
    """A picture for every text, under its label."""
    name = "digits-" + re.sub(r"\W+", "-", family).strip("-")
    wide, narrow = (_grid(found.texts, across) for across in (16, 6))
    caption = (
        f"Images that {family} drew, each under the label that it drew with it: {_said(found)}."
    )
    return Figure(name, wide, narrow, caption)


def _grid(texts: Sequence[str], across: int) -> Chart:
    """Pictures `across` in a row; pixels that are no level stay empty."""
    corner = [(_ACROSS * (n % across), _DOWN * (n // across)) for n in range(len(texts))]
    pixels = [
        {"x": left + i % _SIDE, "y": top + 2 + i // _SIDE, "level": ord(level) - ord("a")}
        for (left, top), text in zip(corner, texts, strict=True)
        for i, level in enumerate(text.partition("<")[0][1 : 1 + _SIDE**2])
        if "b" <= level <= "q"
    ]
    names = [
        {"x": left + 3, "y": top, "label": text[:1]}
        for (left, top), text in zip(corner, texts, strict=True)
    ]
    wide, high = _ACROSS * across, _DOWN * -(-len(texts) // across)
    x, y = (
        {"scale": alt.Scale(domain=[*range(size)], padding=0), "axis": None}
        for size in (wide, high)
    )
    places = {"x": alt.X("x:O", **x), "y": alt.Y("y:O", **y)}
    level = alt.Color("level:Q", scale=alt.Scale(scheme="greys", domain=[0, 16]), legend=None)
    layers = (
        alt.Chart(charts.data(pixels)).mark_rect().encode(**places, color=level),
        alt.Chart(charts.data(names)).mark_text(baseline="middle").encode(**places, text="label:N"),
    )
    step = (charts.NARROW if across < 10 else charts.WIDE) / wide
    return alt.layer(*layers).properties(width=step * wide, height=step * high)
