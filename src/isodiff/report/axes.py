"""Axes of the figures: domains around the data, logarithmic ticks, labels made here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import altair as alt
from scipy.optimize import isotonic_regression

Domain = tuple[float, float]
EQUAL = 1e-9  # as a share of the larger; values that near have no range


def around(values: Iterable[float], share: float = 0.06) -> Domain:
    """A linear domain with a margin of `share` of the range on either side."""
    values = list(values)
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    margin = share * (high - low) if high - low > EQUAL * size else 0.05 * size or 1.0
    return low - margin, high + margin


def around_log(values: Iterable[float], left: float = 0.06, right: float = 0.06) -> Domain:
    """A logarithmic domain; margins as shares of the range in logarithms."""
    logs = [math.log(value) for value in values]
    span = max(logs) - min(logs)
    span = span if span > EQUAL else 1.0
    return math.exp(min(logs) - left * span), math.exp(max(logs) + right * span)


def ticks(domain: Domain) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten, with 3 or 2 and 5 between them where few."""
    low, high = domain
    decades = math.log10(high / low)
    if decades < 0.8:
        return even_ticks(low, high)
    steps = (1,) if decades > 4 else (1, 3) if decades > 2.2 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{step}e{power}") for power in powers for step in steps]
    return [tick for tick in every if low <= tick <= high]


def even_ticks(low: float, high: float) -> list[float]:
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
